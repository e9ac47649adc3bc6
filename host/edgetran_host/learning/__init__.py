"""Active learning of a board's surrogate: which designs to measure so that few are enough."""
