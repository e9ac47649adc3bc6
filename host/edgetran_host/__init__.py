"""Host side of edgetran: the command line, search, training, export and packing."""
