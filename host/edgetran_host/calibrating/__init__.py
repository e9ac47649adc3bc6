"""A real board measured, so that its catalogue entry is of measured coefficients."""
