"""Where a browser may be sent back to: an origin that is on the list, and nothing that looks like one. Pure."""

from __future__ import annotations

import re
from typing import Final
from urllib.parse import urlencode, urlsplit, urlunsplit

_MOST: Final = 2048
# What RFC 3986 allows in an address, without what browsers read differently: no backslash, no space, no control, no
# userinfo, no brackets.
_PLAIN: Final = re.compile(r"https?://[A-Za-z0-9.-]+(:[0-9]{1,5})?([/?#][A-Za-z0-9._~!$&'()*+,;=:@%/?#-]*)?", re.ASCII)
_ORIGIN: Final = re.compile(r"https?://[^/?#]+")


def allowed(url: str, origins: tuple[str, ...]) -> bool:
    """Whether a browser may be sent to this address after a connect: its origin is one of these, to the letter."""
    if len(url) > _MOST or not _PLAIN.fullmatch(url):
        return False
    found = _ORIGIN.match(url)
    return found is not None and found[0].lower() in {origin.rstrip("/").lower() for origin in origins}


def back(url: str, service: str, error: str = "") -> str:
    """The address with the outcome in its query: `oauth=success`, or `oauth=error&error=` a code; never more."""
    parts = urlsplit(url)
    said = {"oauth": "error" if error else "success", "service": service, **({"error": error} if error else {})}
    kept = [pair for pair in parts.query.split("&") if pair and pair.split("=")[0] not in {"oauth", "service", "error"}]
    return urlunsplit(
        (parts.scheme, parts.netloc, parts.path or "/", "&".join([*kept, urlencode(said)]), parts.fragment)
    )
