"""What people see of a co-search, running or ended."""
