"""A client's n8n with every workflow template in it, its users with connected accounts, and the services they use."""

from __future__ import annotations

import base64
import email
import email.header
import email.message
import json
import secrets
from collections.abc import Iterator
from contextlib import closing, contextmanager
from dataclasses import dataclass, field
from http.client import HTTPConnection
from typing import Any
from urllib.parse import urlsplit

from tests.n8n import package, providers, stubs, templates
from tests.n8n.client import N8n

HOOK = "httpHeaderAuth"
HEADER = "x-otobot-webhook-secret"
ASKED = {
    "secure-base": {},
    "drive-to-notion": {"folderId": "0Ab_cd-Folder", "databaseId": "0" * 32},
    "multichannel-notification": {"title": "Été", "text": "Bonjour à tous", "channel": "#equipe"},
}


@dataclass
class Office:
    """`flows` are the stored templates by slug; `secrets` is everything that n8n must never hold."""

    n8n: N8n
    door: stubs.VaultDoor
    live: Any
    services: providers.Providers
    logins: dict[str, Any]
    secret: str
    values: dict[str, Any]
    flows: dict[str, Any] = field(default_factory=dict)
    secrets: list[str] = field(default_factory=list)

    def person(self, *services: str, live: Any = None, **more: Any) -> tuple[str, dict[str, str]]:
        """A fresh user who has connected these services, and his tokens."""
        user = f"00000000-0000-4000-8000-{secrets.token_hex(6)}"
        body = {"email": f"{user}@acme.example", "name": "Léa"}
        assert (live or self.live).ask(f"/api/internal/user/{user}", "PUT", body=body).status == 201
        return user, {service: self.connect(user, service, live=live, **more) for service in services}

    def connect(self, user: str, service: str, *, live: Any = None, **more: Any) -> str:
        """A fresh token, whose signs every encoding writes in another way."""
        token = f"tok_{secrets.token_hex(12)}+/={secrets.token_hex(4)}~*~"
        self.secrets.append(token)
        body = {"accessToken": token, "accountIdentifier": f"lea@{service}.example", **more}
        answer = (live or self.live).ask(f"/api/internal/user/{user}/credentials/{service}", "PUT", body=body)
        assert answer.status in {200, 201}
        return token

    def document(self, slug: str, **values: Any) -> dict[str, Any]:
        """A template with these settings, not stored yet; failures are told to the error alert."""
        errors = self.flows["error-alert"]["id"] if "error-alert" in self.flows else ""
        return templates.installed(slug, self.logins, {**self.values, **values}, errors)

    def call(self, flow: Any, user: str, *, secret: str | None = None, **parameters: Any) -> Any:
        """Call a published template as the vault does when a user starts a workflow."""
        headers = {HEADER: self.secret if secret is None else secret}
        return self.n8n.http.post(_webhook(flow), json=body(user, parameters), headers=headers)

    @contextmanager
    def calling(self, flow: Any, user: str) -> Iterator[None]:
        """The same for the block, at whose end the caller hangs up, whether he was answered or not."""
        line = HTTPConnection(urlsplit(self.n8n.url).netloc, timeout=60)
        headers = {HEADER: self.secret, "content-type": "application/json"}
        with closing(line):
            line.request("POST", _webhook(flow), json.dumps(body(user, {})), headers)
            yield


def _webhook(flow: Any) -> str:
    return f"/webhook/{templates.node(flow, 'Webhook')['parameters']['path']}"


def body(user: str, parameters: dict[str, Any]) -> dict[str, Any]:
    """What the vault sends to a webhook."""
    return {"userId": user, "clientId": "acme", "parameters": parameters}


def opened(n8n: N8n, door: stubs.VaultDoor, live: Any, services: providers.Providers) -> Office:
    """Store the credentials that a deploy stores, and every template; those with a webhook are published."""
    door.hosts = {name: [getattr(services, name).host] for name in ("google", "notion", "slack")}
    secret = secrets.token_urlsafe(48)
    logins = {
        **n8n.credential(package.LOGIN, {"clientId": "acme", "apiUrl": door.url, "internalToken": live.token}),
        **n8n.credential(HOOK, {"name": HEADER, "value": secret}),
    }
    google, notion, slack = services.each()
    values = {
        "driveUrl": google.url, "gmailUrl": google.url, "notionUrl": notion.url, "slackUrl": slack.url,
        "url": f"{notion.url}/v1/users/me", "waitSeconds": 0.1,
    }  # fmt: skip
    office = Office(n8n, door, live, services, logins, secret, values, secrets=[live.token])
    sender, _ = office.person("google")
    office.values |= {"senderUserId": sender, "alertTo": "ops@acme.example"}
    for slug in ("error-alert", "token-maintenance"):
        office.flows[slug] = n8n.store(office.document(slug))
    for slug in ASKED:
        office.flows[slug] = n8n.activate(n8n.store(office.document(slug)))
    return office


def mail(asked: dict[str, Any]) -> email.message.Message:
    """A mail that Gmail was given."""
    raw = asked["body"]["raw"]
    return email.message_from_bytes(base64.urlsafe_b64decode(raw + "=" * (-len(raw) % 4)))


def text(message: email.message.Message) -> str:
    """Its text."""
    content = message.get_payload(decode=True)
    assert isinstance(content, bytes)
    return content.decode()


def subject(message: email.message.Message) -> str:
    """Its subject, decoded."""
    return str(email.header.make_header(email.header.decode_header(message["Subject"])))
