"""One run of everything that the vault is, with known secrets, and a search of everything that it leaves behind."""
