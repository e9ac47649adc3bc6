"""The FlexiBERT 2.0 design space: architectures, their identity and their embedding."""
