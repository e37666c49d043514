"""Measurements against the tools that operators use today."""
