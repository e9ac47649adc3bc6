"""What a daemon is told, where from, and how it is installed and checked."""
