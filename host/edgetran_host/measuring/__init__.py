"""Measurements on the host's side: asked for, kept, verified, drawn."""
