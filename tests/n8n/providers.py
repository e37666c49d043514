"""Google, Notion and Slack, as far as the workflow templates ask them; careless ones, that repeat the token they get."""

from __future__ import annotations

import json
import re
import ssl
import urllib.parse
from collections.abc import Iterator
from contextlib import ExitStack, contextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from tests.n8n import stubs


class Provider:
    """One service's API. `asked` are the requests it got; `refusals` are statuses that it answers with next.

    `broken` are paths that it fails once at.
    """

    def __init__(self, port: int) -> None:
        self.host = f"localhost:{port}"
        self.url = f"https://{self.host}"
        self.asked: list[dict[str, Any]] = []
        self.refusals: list[int] = []
        self.broken: list[str] = []

    def forget(self) -> None:
        """Begin anew."""
        self.asked, self.refusals, self.broken = [], [], []

    def tokens(self) -> set[str]:
        """Whose tokens were shown."""
        return {each["token"] for each in self.asked}

    def answer(self, request: Any, body: str) -> None:
        path, _, query = request.path.partition("?")
        token = (request.headers.get("authorization") or "").removeprefix("Bearer ")
        asked = {
            "method": request.command, "path": path, "token": token, "body": json.loads(body) if body else None,
            "query": dict(urllib.parse.parse_qsl(query)),
        }  # fmt: skip
        self.asked.append(asked)
        status, document = self._answer(asked)
        content = {**document, "echo": stubs.repeated(token)}
        request.reply(status, json.dumps(content).encode(), X_Echo=token, Set_Cookie=f"session={token}")

    def _answer(self, asked: dict[str, Any]) -> tuple[int, dict[str, Any]]:
        if self.refusals:
            status = self.refusals.pop(0)
            return status, {"ok": False, "message": f"refused with {status}"}
        if asked["path"] in self.broken:
            self.broken.remove(asked["path"])
            return 500, {"message": "broken"}
        found = self.reply(asked)
        return (404, {"message": "no such path"}) if found is None else (200, found)

    def reply(self, asked: dict[str, Any]) -> dict[str, Any] | None:
        """What it answers to a request that it knows."""
        raise NotImplementedError


class Google(Provider):
    """Drive's list of files, and Gmail's outbox."""

    files: tuple[dict[str, Any], ...] = ()

    def reply(self, asked: dict[str, Any]) -> dict[str, Any] | None:
        if (asked["method"], asked["path"]) == ("GET", "/drive/v3/files"):
            return {"files": list(self.files)}
        if (asked["method"], asked["path"]) == ("POST", "/gmail/v1/users/me/messages/send"):
            return {"id": "m1", "labelIds": ["SENT"]}
        return None


class Notion(Provider):
    """One database: its pages are found by the file that they stand for."""

    def __init__(self, port: int) -> None:
        super().__init__(port)
        self.pages: list[dict[str, Any]] = []
        self.says = ""

    def forget(self) -> None:
        super().forget()
        self.pages = []

    def reply(self, asked: dict[str, Any]) -> dict[str, Any] | None:
        if asked["path"] == "/v1/users/me":
            return {"object": "user", "name": self.says or "Otobot"}
        if asked["path"] == "/v1/pages":
            self.pages.append(asked["body"]["properties"])
            return {"object": "page", "id": f"p{len(self.pages)}"}
        if re.fullmatch(r"/v1/databases/[0-9a-f-]+/query", asked["path"]):
            wanted = asked["body"]["filter"]
            key, value = wanted["property"], wanted["rich_text"]["equals"]
            return {"results": [page for page in self.pages if page[key]["rich_text"][0]["text"]["content"] == value]}
        return None


class Slack(Provider):
    """Its chat."""

    def reply(self, asked: dict[str, Any]) -> dict[str, Any] | None:
        return {"ok": True, "channel": asked["body"]["channel"]} if asked["path"] == "/api/chat.postMessage" else None


@dataclass(frozen=True)
class Providers:
    """The three, running."""

    google: Google
    notion: Notion
    slack: Slack

    def each(self) -> tuple[Provider, ...]:
        """All of them."""
        return (self.google, self.notion, self.slack)


@contextmanager
def running(certificate: Path) -> Iterator[Providers]:
    """Serve the three over https with this certificate, each on a host of its own."""
    context = ssl.SSLContext(ssl.PROTOCOL_TLS_SERVER)
    context.load_cert_chain(certificate)
    with ExitStack() as stack:
        yield Providers(*(stack.enter_context(stubs.serving(kind, context)) for kind in (Google, Notion, Slack)))
