"""One manifest, running servers."""
