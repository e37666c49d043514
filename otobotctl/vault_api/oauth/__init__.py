"""OAuth: what the providers are like, how a user connects to one, and how tokens are kept fresh."""
