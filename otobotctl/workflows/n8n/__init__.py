"""`n8n export` and `n8n import`: workflows between fleets, as files."""
