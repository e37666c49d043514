"""Where things are on a host, for templates and playbooks alike."""

from __future__ import annotations

BASE = "/opt/otobot"
CONFIGURATION = "/etc/otobot"
TLS = "/etc/otobot/tls"  # <domain>/fullchain.pem and privkey.pem: what nginx reads
LETSENCRYPT = "/etc/otobot/letsencrypt"  # certbot's own
FRONT = "front"  # the client name, and so the directory, of the host's proxy


def project(client: str) -> str:
    """Return Compose's project name of a client, or of the front."""
    return f"otobot-{client}"
