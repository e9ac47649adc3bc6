"""Pre-training of any design from scratch, on text that need not fit in memory."""
