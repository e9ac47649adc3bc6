"""A bundle onto many boards: in waves, each board checked, taken back where a promise breaks."""
