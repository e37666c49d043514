"""Backups: runs, lists and how they stand."""
