"""What administrators, operators and API keys may do."""

from __future__ import annotations

from typing import Final

from ...endpoint import Endpoint
from . import apps, client, keys, log, privacy, users, workflows

ENDPOINTS: Final[tuple[Endpoint, ...]] = (
    *client.ENDPOINTS,
    *users.ENDPOINTS,
    *apps.ENDPOINTS,
    *keys.ENDPOINTS,
    *workflows.ENDPOINTS,
    *log.ENDPOINTS,
    *privacy.ENDPOINTS,
)
