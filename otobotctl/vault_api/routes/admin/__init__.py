"""What administrators, operators and API keys may do."""

from __future__ import annotations

from typing import Final

from ...endpoint import Endpoint
from . import apps, client, connections, keys, log, privacy, users, workflows

ENDPOINTS: Final[tuple[Endpoint, ...]] = (
    *client.ENDPOINTS,
    *users.ENDPOINTS,
    *apps.ENDPOINTS,
    *connections.ENDPOINTS,
    *keys.ENDPOINTS,
    *workflows.ENDPOINTS,
    *log.ENDPOINTS,
    *privacy.ENDPOINTS,
)
