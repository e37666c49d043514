"""What runs the vault: health, metrics and the document of its endpoints."""

from __future__ import annotations

import logging
from typing import Any, Final

import psycopg

from .. import contract, logs, metrics
from ..actor import Access
from ..connections import states
from ..endpoint import Answer, Call, Endpoint
from ..schema import migrations


async def alive(call: Call) -> Answer:
    """Whether it answers and its database does."""
    return _answer(await _checks(call))


async def ready(call: Call) -> Answer:
    """Whether it can hand out credentials: the database, the migrations and the key."""
    checks = await _checks(call)
    checks["key"] = "ok" if call.vault.keyring.allowance > 0 else "used up"
    return _answer(checks)


def _answer(checks: dict[str, str]) -> Answer:
    healthy = set(checks.values()) == {"ok"}
    if not healthy:
        logs.event("unhealthy", logging.WARNING, checks=checks)
    body = contract.Alive(
        status="ok" if healthy else "unavailable", service=contract.SERVICE, version=contract.VERSION, checks=checks
    )
    return Answer(200 if healthy else 503, body)


async def _checks(call: Call) -> dict[str, str]:
    try:
        row = await call.vault.database.one("SELECT array_agg(version) FROM schema_migrations")
    except (psycopg.Error, LookupError):
        return {"database": "unreachable", "migrations": "unknown"}
    there = set(row[0] or ()) if row else set()
    missing = {migration.version for migration in migrations()} - there
    return {"database": "ok", "migrations": "missing" if missing else "ok"}


async def numbers(call: Call) -> Answer:
    """What Prometheus reads."""
    for name, value in call.vault.database.counts().items():
        metrics.POOL.labels(name).set(value)
    await states(call.vault)
    return Answer(200, metrics.exposition(), content_type=metrics.CONTENT_TYPE)


_OPEN: Final[dict[str, Any]] = {"access": Access.PUBLIC, "limit": "none", "tag": "operations"}

ENDPOINTS: Final[tuple[Endpoint, ...]] = (
    Endpoint(
        "GET", contract.HEALTH_PATH, "health", alive, summary="Whether it answers.", answer=contract.Alive,
        statuses={503: contract.Alive}, **_OPEN,
    ),
    Endpoint(
        "GET", contract.READY_PATH, "ready", ready, summary="Whether it can hand out credentials.",
        answer=contract.Alive, statuses={503: contract.Alive}, **_OPEN,
    ),
    Endpoint(
        "GET", contract.METRICS_PATH, "metrics", numbers, summary="Figures for Prometheus.", answer=None, **_OPEN
    ),
)  # fmt: skip
