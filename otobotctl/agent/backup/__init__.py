"""The host's half of backups: what systemd's timers start, and what an operator asks for."""
