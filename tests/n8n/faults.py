"""What can go wrong when the secure base is called, each as a way to bring it about; docs/n8n.md says what comes of it."""

from __future__ import annotations

import re
import secrets
from collections.abc import Callable
from pathlib import Path
from typing import Any

from tests.n8n import package
from tests.n8n.office import Office

_ROW = re.compile(r"^\| (?P<fault>[^|]+) \| (?P<error>[^|]+) \| (?P<status>\d{3}) \| [^|]+ \|$", re.MULTILINE)


def documented() -> dict[str, tuple[int, str]]:
    """Status and error by fault, as the table says."""
    text = (Path(__file__).parents[2] / "docs/n8n.md").read_text()
    return {row["fault"]: (int(row["status"]), row["error"]) for row in _ROW.finditer(text)}


def _known(office: Office) -> str:
    return office.person("notion")[0]


def _base(office: Office, login: dict[str, Any] | None = None, **values: Any) -> Any:
    """The secure base, published again with other settings or another login."""
    document = office.document("secure-base", **values)
    for node in document["nodes"]:
        if login and package.LOGIN in node.get("credentials", {}):
            node["credentials"] = login
    return office.n8n.activate(office.n8n.store(document))


def _login(office: Office, **other: Any) -> dict[str, Any]:
    given = {"clientId": "acme", "apiUrl": office.door.url, "internalToken": office.live.token, **other}
    return office.n8n.credential(package.LOGIN, given)


def _ended(office: Office) -> str:
    user = _known(office)
    with office.live.database() as connection:
        connection.execute(
            "UPDATE client_connections SET status = 'broken', broken_reason = 'invalid_grant', broken_at = now()"
            " WHERE user_id = %s",
            (user,),
        )
    return user


def _expired(office: Office) -> str:
    office.services.notion.refusals = [401]
    return office.person("notion", expiresAt="2020-01-01T00:00:00Z")[0]


def _refused(status: int) -> Callable[[Office, Any], Any]:
    def call(office: Office, _other: Any) -> Any:
        office.services.notion.refusals = [status] * 9
        return office.call(office.flows["secure-base"], _known(office))

    return call


def _vault(status: int, **headers: str) -> Callable[[Office, Any], Any]:
    def call(office: Office, _other: Any) -> Any:
        office.door.faults["/services"] = (status, headers)
        return office.call(office.flows["secure-base"], _known(office))

    return call


def _slow(office: Office, _other: Any) -> Any:
    office.door.slow_s = 12
    return office.call(office.flows["secure-base"], _known(office))


def _with(user: Callable[[Office], str]) -> Callable[[Office, Any], Any]:
    return lambda office, _other: office.call(office.flows["secure-base"], user(office))


def _set(login: Callable[[Office], dict[str, Any]] | None = None, **values: Any) -> Callable[[Office, Any], Any]:
    return lambda office, _other: office.call(_base(office, login and login(office), **values), _known(office))


def _down(office: Office, _other: Any) -> Any:
    office.door.hosts["notion"].append("localhost:9")
    try:
        return office.call(_base(office, url="https://localhost:9/x"), _known(office))
    finally:
        office.door.hosts["notion"].remove("localhost:9")


# Each takes the office and the vault of another client, and returns the webhook's answer.
CAUSES: dict[str, Callable[[Office, Any], Any]] = {
    "no connection": _with(lambda office: office.person("slack")[0]),
    "user of another client": lambda office, other: office.call(
        office.flows["secure-base"], office.person("notion", live=other)[0]
    ),
    "expired token": _with(_expired),
    "connection ended by the provider": _with(_ended),
    "unknown service": _set(service="nowhere"),
    "wrong internal token": _set(lambda office: _login(office, internalToken=secrets.token_urlsafe(48))),
    "vault down": _set(lambda office: _login(office, apiUrl="http://127.0.0.1:9")),
    "vault slow": _slow,
    "vault asked too often": _vault(429, Retry_After="9"),
    "vault fails": _vault(503),
    "service asked too often": _refused(429),
    "service fails": _refused(500),
    "service redirects": _refused(302),
    "service down": _down,
    "another host": _set(url="https://evil.example/v1"),
    "no user": lambda office, _other: office.call(office.flows["secure-base"], ""),
}
