"""Search for the design that serves a task best within a board's budgets."""
