"""The RPC services; each converts, delegates and converts back."""
