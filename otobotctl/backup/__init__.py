"""Archives: what is in one, how it is packed and sealed on its way to disk, and how it is proved by reading it back."""
