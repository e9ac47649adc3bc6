"""Search of transformer and board together: pairs, what they cost, and which to try next."""
