"""What a design would score, foretold from trained ones, or that nobody knows."""
