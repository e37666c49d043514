"""What a deploy stores for the client itself: connections that belong to no person, through the vault's own API.

`provision check LIST` says how each item is, `provision apply` takes them with their keys on stdin. Killed anywhere,
the next run goes on. Which key is stored is told by the digest of its item, which the connection's account names: so
nothing is opened, and nothing is written that is there already.
"""

from __future__ import annotations

import http.client
import json
import sys
from collections.abc import Mapping, Sequence
from typing import TYPE_CHECKING, Any, Final

from . import call, contract, contract_admin

if TYPE_CHECKING:
    from .configuration import Settings

Item = Mapping[str, Any]

_WANTED: Final = "connection"  # the kind; `no connection` is one that must not stay
_REFUSED: Final = 400


class RefusedError(Exception):
    """The vault did not do what it was asked; its own words say why."""


def run(settings: Settings, told: str, port: int) -> int:
    """Look at the items `told`, or make those of stdin so where nothing is told; return the exit code."""
    vault = _Vault(settings, port)
    try:
        if told:
            print(json.dumps({"items": {item["name"]: vault.state(item) for item in json.loads(told)}}))
        else:
            for item in json.load(sys.stdin):
                vault.make(item)
    except RefusedError as error:
        print(f"the vault refuses: {error}", file=sys.stderr)
        return 1
    except (OSError, http.client.HTTPException) as error:
        print(f"the vault does not answer on port {port}: {type(error).__name__}", file=sys.stderr)
        return 1
    return 0


class _Vault:
    def __init__(self, settings: Settings, port: int) -> None:
        self._headers = call.headers(settings, "deploy")
        self._port = port

    def state(self, item: Item) -> str:
        """How the item is: ready, absent or stale."""
        found = self._stored(item)
        if item["kind"] != _WANTED:
            return "stale" if found else "ready"
        if not found:
            return "absent"
        ours = found["account_identifier"].endswith(_mark(item)) and not found["is_broken"]
        return "ready" if ours else "stale"

    def make(self, item: Item) -> None:
        """Bring the item to be as it should. Raises RefusedError."""
        state = self.state(item)
        if state == "ready":
            return
        if item["kind"] != _WANTED:
            path = contract_admin.ANY_CONNECTION_PATH.format(connection=(self._stored(item) or {}).get("id"))
            self._ask(("DELETE", path, None))
            print(f"removed the {item['name']}")
            return
        holder = {"email": contract.OWN_EMAIL, "name": "Otobot"}
        new = {"apiKey": item["apiKey"], "accountIdentifier": f"{item['url']} {_mark(item)}"}
        self._ask(
            ("PUT", contract.user_path(contract.OWN_USER), holder),
            ("PUT", contract.credentials_path(contract.OWN_USER, item["id"]), new),
        )
        print(f"{'stored' if state == 'absent' else 'replaced'} the {item['name']}")

    def _stored(self, item: Item) -> dict[str, Any] | None:
        listed = self._ask(("GET", contract.connections_path(contract.OWN_USER), None))[0]["connections"]
        return next((each for each in listed if each["service_name"] == item["id"]), None)

    def _ask(self, *requests: tuple[str, str, Any]) -> Sequence[Any]:
        wanted = [{"method": method, "path": path, "body": body} for method, path, body in requests]
        bodies = []
        for (method, path, _), answer in zip(requests, call.answers(wanted, self._headers, self._port), strict=True):
            if answer["status"] >= _REFUSED:
                raise RefusedError(f"{method} {path}: {(answer['body'] or {}).get('error', answer['status'])}")
            bodies.append(answer["body"])
        return bodies


def _mark(item: Item) -> str:
    return f"(deployed {item['digest'][:12]})"
