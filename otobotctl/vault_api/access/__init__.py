"""Who may come in, and as whom: passwords, second factors, tokens, sessions, API keys, limits."""

from __future__ import annotations
