"""The ports: small Protocols that speak the domain. Adapters implement them; bootstrap chooses which."""
