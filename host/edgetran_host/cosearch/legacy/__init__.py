"""The co-search as it was published, to compare with; `boshcode.Boshcode` is what to use."""
