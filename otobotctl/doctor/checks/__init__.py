"""Every check, in the order of the report. A new one is a module here with `CHECK`, and its name in this list."""

from __future__ import annotations

from functools import cache
from importlib import import_module
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from otobotctl.doctor.model import Check

NAMES = (
    "reach",
    "docker",
    "containers",
    "stuck",
    "inside_ports",
    "outside_ports",
    "bypass",
    "dns",
    "certificates",
    "tls",
    "clock",
    "disk",
    "memory",
    "environment",
    "keys",
    "logins",
    "schema",
    "n8n_owner",
    "n8n_workflows",
    "tokens",
    "archives",
    "backups",
    "images",
    "secrets",
    "hardening",
    "shield",
)


@cache
def every() -> tuple[Check, ...]:
    """All checks."""
    return tuple(import_module(f"otobotctl.doctor.checks.{name}").CHECK for name in NAMES)
