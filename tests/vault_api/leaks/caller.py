"""Asks a vault, knows every secret that went in or came out, and keeps every answer for the search."""

from __future__ import annotations

import http.client
import json
import re
import secrets
from collections.abc import Mapping
from dataclasses import dataclass, field
from typing import Any
from urllib.parse import urlsplit

from otobotctl.vault_api import contract


@dataclass(frozen=True)
class Exchange:
    """One request with its answer. `may_show` are the values that this answer is for."""

    method: str
    path: str
    status: int
    head: Mapping[str, str]
    body: bytes
    may_show: frozenset[str]

    @property
    def json(self) -> Any:
        return json.loads(self.body) if self.body else None


@dataclass
class Book:
    """Every secret by a name, which a finding shows in its place."""

    secrets: dict[str, str] = field(default_factory=dict)
    typed: dict[str, str] = field(default_factory=dict)  # as an e-mail address, by which a statement looks for a user

    def know(self, name: str, value: str) -> str:
        """Remember a value that the vault, or another, has made."""
        self.secrets.setdefault(name if name not in self.secrets else f"{name} {len(self.secrets)}", value)
        return value

    def mint(self, name: str) -> str:
        """A secret whose characters each encoding writes in another way, and that a password policy accepts."""
        return self.know(name, f"Zé7-{secrets.token_urlsafe(18)}+/=\"'\\&%")

    def word(self, name: str, begins: str = "zz") -> str:
        """A secret that fits into a header, a path and an identifier; no service's code begins with a capital."""
        return self.know(name, f"{begins}{secrets.token_hex(16)}")


class Caller:
    """Makes requests of the vault at `url`."""

    def __init__(self, url: str, book: Book, environment: Mapping[str, str]) -> None:
        self.url, self.book = url, book
        self.exchanges: list[Exchange] = []
        self.internal = {contract.TOKEN_HEADER: environment["N8N_INTERNAL_TOKEN"]}
        self.node = {contract.NODE_HEADER: environment["N8N_NODE_TOKEN"]}
        self.operator = {contract.OPERATOR_HEADER: environment["VAULT_OPERATOR_TOKEN"]}

    def ask(
        self,
        method: str,
        path: str,
        body: Any = None,
        headers: Mapping[str, str] | None = None,
        *,
        status: int | None = None,
        mints: tuple[str, ...] = (),
        gives: tuple[str, ...] = (),
    ) -> Exchange:
        """One request. `status`: what it has to answer; `mints`: fields of the answer that are secrets from now on;
        `gives`: known values that this answer is for.
        """
        data = body if isinstance(body, bytes) or body is None else json.dumps(body).encode()
        connection = http.client.HTTPConnection(urlsplit(self.url).netloc, timeout=60)
        try:
            connection.request(method, path, body=data, headers=dict(headers or {}))
            answer = connection.getresponse()
            head = {name.lower(): value for name, value in answer.getheaders()}
            content, code = answer.read(), answer.status
        finally:
            connection.close()
        assert status is None or code == status, f"{method} {path.partition('?')[0]}: {code} {content[:300]!r}"
        shown = set(gives)
        for name in mints:
            found = json.loads(content)[name]
            values = found if isinstance(found, list) else [found]
            shown |= {self.book.know(f"{name} of {method} {path.partition('?')[0]}", value) for value in values}
        made = Exchange(method, path.partition("?")[0], code, head, content, frozenset(shown))
        self.exchanges.append(made)
        return made

    def may_show(self, exchange: Exchange, *values: str) -> None:
        """Say afterwards that an answer was for these values, as a redirect is for its ticket."""
        place = self.exchanges.index(exchange)
        known = exchange.may_show | {*values}
        self.exchanges[place] = Exchange(
            exchange.method, exchange.path, exchange.status, exchange.head, exchange.body, known
        )

    def missed(self, document: Mapping[str, Any]) -> list[str]:
        """What of the OpenAPI document was not asked with success, or never refused."""
        seen: dict[str, set[bool]] = {}
        operations = [(path, method.upper()) for path, found in document["paths"].items() for method in found]
        # A path without names goes before one whose name would take its last word.
        operations.sort(key=lambda each: each[0].count("{"))
        for one in self.exchanges:
            for path, method in operations:
                if method == one.method and re.fullmatch(re.sub(r"\{[a-z]+\}", "[^/]+", path), one.path):
                    seen.setdefault(f"{method} {path}", set()).add(one.status < 400)
                    break
        names = sorted(f"{method} {path}" for path, method in operations)
        return [
            f"{name}: {'no success' if wanted else 'no refusal'}"
            for name in names
            for wanted in (True, False)
            if wanted not in seen.get(name, set()) and (wanted or name not in _NEVER_REFUSED)
        ]


# Their answers depend on nothing: what the database does not say is left out.
_NEVER_REFUSED = {"GET /openapi.json", "GET /metrics"}
