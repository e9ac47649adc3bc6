"""Grows and prunes a trained model, measuring every step on the board."""
