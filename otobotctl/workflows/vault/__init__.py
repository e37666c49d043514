"""What operators do with a client's vault, through SSH and its own container: it has no public door for this."""
