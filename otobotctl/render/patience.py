"""How long a project may take until every container is healthy, from what its own health checks allow."""

from __future__ import annotations

import re
from collections.abc import Mapping
from typing import Any

LEAST_S, MOST_S = 300, 3600
_UNITS = {"s": 1, "m": 60, "h": 3600}
_ONCE_S = 60  # for a container without a health check, such as one that sets up a database and ends


def wait_s(services: Mapping[str, Mapping[str, Any]]) -> int:
    """Return the seconds after which a project that is not healthy will not be, from `services` as Compose reads them.

    Each container may use up its start period and then fail as often as its health check allows; those that wait for
    each other add up. Never less than 300, so that a slow disk is no failed deploy, nor more than an hour.
    """
    known: dict[str, int] = {}

    def until_healthy(name: str, above: tuple[str, ...] = ()) -> int:
        if name not in known:
            others = [other for other in services[name].get("depends_on", {}) if other not in above]
            before = max((until_healthy(other, (*above, name)) for other in others), default=0)
            known[name] = before + own_s(services[name].get("healthcheck"))
        return known[name]

    return min(max(LEAST_S, *map(until_healthy, services)), MOST_S) if services else LEAST_S


def own_s(health: Mapping[str, Any] | None) -> int:
    """Return the seconds after which one container that is not healthy will not be, by its own health check."""
    if not health:
        return _ONCE_S
    start, interval, timeout = (seconds(health.get(key, "0s")) for key in ("start_period", "interval", "timeout"))
    return start + int(health.get("retries", 3)) * (interval + timeout)


def seconds(text: str) -> int:
    """Return a duration as Compose writes it, such as 1m30s."""
    return sum(int(number) * _UNITS[unit] for number, unit in re.findall(r"(\d+)([smh])", text))
