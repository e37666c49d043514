"""Which web pages may call the vault: pure. Exact origins from the configuration, no wildcard, no credentials."""

from __future__ import annotations

from collections.abc import Collection

Headers = list[tuple[str, str]]

METHODS = "GET, POST, PUT, PATCH, DELETE"
REQUEST_HEADERS = "authorization, content-type, x-request-id"
EXPOSED = "retry-after, x-request-id"
PREFLIGHT_S = 600


def is_preflight(method: str, origin: str | None, requested_method: str | None) -> bool:
    """Whether a browser asks for permission; any other OPTIONS is an ordinary request."""
    return method == "OPTIONS" and origin is not None and requested_method is not None


def preflight(origin: str, requested_method: str, allowed: Collection[str]) -> tuple[int, Headers]:
    """Return the whole answer to a preflight: 204 with the permissions, or 403 with none.

    The browser compares the headers that it wants to send with the list itself.
    """
    if origin not in allowed or requested_method not in METHODS.split(", "):
        return 403, [("vary", "origin")]
    permissions = [
        ("access-control-allow-methods", METHODS),
        ("access-control-allow-headers", REQUEST_HEADERS),
        ("access-control-max-age", str(PREFLIGHT_S)),
    ]
    return 204, [*answering(origin, allowed), *permissions]


def answering(origin: str | None, allowed: Collection[str]) -> Headers:
    """Return the headers of an ordinary answer; an origin that is not allowed gets none and cannot read it."""
    if not allowed:
        return []
    if origin is None or origin not in allowed:
        return [("vary", "origin")]
    return [
        ("access-control-allow-origin", origin),
        ("access-control-expose-headers", EXPOSED),
        ("vary", "origin"),
    ]
