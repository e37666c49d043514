"""The vault API guards one client's OAuth tokens and API keys. An image of its own; it imports no other room."""

from __future__ import annotations
