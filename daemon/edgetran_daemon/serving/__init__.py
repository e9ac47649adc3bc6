"""Served models: the supervisor's side of their processes, texts and statistics."""
