"""From raw samples to figures and a verdict: what a board says and anybody can derive again."""
