"""IA Interne: its hosts, models, keys and use."""
