"""Many designs measured on several boards, to learn from."""
