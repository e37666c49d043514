"""What is to be said of the certificates that a client's names are served with. Pure."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Any

SELF_SIGNED = "self-signed"
NOT_YET = "self-signed, not by ACME yet"
_DAY_S = 86400
# certbot and caddy renew with a third of the time left, thirty days of ninety, and certbot sooner what lives for days
# only: with less left than this it did not happen.
_DUE_DAYS, _DUE_SHARE = 21.0, 0.25
_CADDY_ITSELF = "Caddy Local Authority"  # what caddy signs with until the authority agrees


@dataclass(frozen=True)
class Certificate:
    """`days` until the first ends (None: none is served); `words`: "" or what is special; `due`: late to be renewed."""

    days: float | None
    words: str
    issuer: str
    due: bool


def judged(found: Sequence[Mapping[str, Any]], now: float, *, acme: bool, caddy: bool = False) -> Certificate:
    """Judge what agent/served.py found for each of a client's names.

    A host serves certificates that sign themselves until the authority's have come: they would hide that none ever did.
    """
    errors = [each["error"] for each in found if "error" in each]
    read = [each for each in found if "error" not in each]
    itself = [each for each in read if each["self_signed"] or (caddy and acme and _CADDY_ITSELF in each["issuer"])]
    words = errors[0] if errors else (NOT_YET if acme else SELF_SIGNED) if itself else ""
    days = [(each["not_after"] - now) / _DAY_S for each in read]
    limits = [min(_DUE_DAYS, _DUE_SHARE * (each["not_after"] - each["not_before"]) / _DAY_S) for each in read]
    return Certificate(
        round(min(days), 1) if days else None,
        words,
        ", ".join(sorted({each["issuer"] for each in read if each["issuer"]})),
        any(left < limit for left, limit in zip(days, limits, strict=True)),
    )
