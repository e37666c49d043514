"""Point in time: copies of PostgreSQL's whole data directory, and the log of every change since, in each repository."""
