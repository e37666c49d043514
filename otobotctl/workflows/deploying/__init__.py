"""What changes a client's release: `deploy`, `rollback`, and what is known of releases."""
