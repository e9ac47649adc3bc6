"""What both ends of the wire agree on: RPCs, the error tree, the bundle format."""
