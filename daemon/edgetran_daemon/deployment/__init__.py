"""Which model serves under which name, and how that changes."""
