"""Which board this is, what it says of itself and how it is doing."""
