"""Who may do what: certificates, pairing, roles."""
