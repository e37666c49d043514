"""The workflow templates in a real n8n: they do their work, answer every fault, and leave no token anywhere."""

from __future__ import annotations

import secrets
from dataclasses import dataclass, field
from typing import Any

import pytest

from tests.lab.shell import until
from tests.n8n import package, providers, stubs, templates
from tests.n8n.search import stored

HOOK = "httpHeaderAuth"
HEADER = "x-otobot-webhook-secret"
FILES = (
    {"id": "1aB_c-D", "name": "Devis d'été.pdf", "webViewLink": "https://drive.google.com/file/d/1aB_c-D"},
    {"id": "2eF_g-H", "name": "Contrat.docx", "webViewLink": "https://drive.google.com/file/d/2eF_g-H"},
)
ASKED = {"folderId": "0Ab_cd-Folder", "databaseId": "0" * 32}
SERVICES = ("google", "notion", "slack")


@dataclass
class Office:
    """An n8n with every template, a vault and three services; `flows` are the stored templates by slug."""

    n8n: Any
    door: stubs.VaultDoor
    live: Any
    services: providers.Providers
    logins: dict[str, Any]
    secret: str
    values: dict[str, Any]
    flows: dict[str, Any] = field(default_factory=dict)
    secrets: list[str] = field(default_factory=list)

    def person(self, *services: str, **more: Any) -> tuple[str, dict[str, str]]:
        """A fresh user who has connected these services; and his tokens."""
        user = f"00000000-0000-4000-8000-{secrets.token_hex(6)}"
        body = {"email": f"{user}@acme.example", "name": "Léa"}
        assert self.live.ask(f"/api/internal/user/{user}", "PUT", body=body).status == 201
        return user, {service: self.connect(user, service, **more) for service in services}

    def connect(self, user: str, service: str, **more: Any) -> str:
        """A fresh token, whose signs every encoding writes in another way."""
        token = f"tok_{secrets.token_hex(12)}+/={secrets.token_hex(4)}~*~"
        self.secrets.append(token)
        body = {"accessToken": token, "accountIdentifier": f"lea@{service}.example", **more}
        answer = self.live.ask(f"/api/internal/user/{user}/credentials/{service}", "PUT", body=body)
        assert answer.status in {200, 201}
        return token

    def install(self, slug: str, *, errors: str = "", **values: Any) -> dict[str, Any]:
        """Store a template with these settings."""
        return self.n8n.store(templates.installed(slug, self.logins, {**self.values, **values}, errors))

    def call(self, flow: Any, user: str, *, secret: str | None = None, **parameters: Any) -> Any:
        """Call a published template as the vault does when a user starts a workflow."""
        path = templates.node(flow, "Webhook")["parameters"]["path"]
        headers = {HEADER: self.secret if secret is None else secret}
        body = {"userId": user, "clientId": "acme", "parameters": parameters}
        return self.n8n.http.post(f"/webhook/{path}", json=body, headers=headers)


@pytest.fixture(scope="module")
def services(third_party):
    """The three, under the certificate that n8n trusts."""
    with providers.running(third_party[1]) as served:
        yield served


@pytest.fixture(scope="module")
def open_office(n8n, live, services):
    """Everything in place: credentials as a deploy stores them, templates stored and published."""
    with stubs.vault_door() as door:
        door.vault = live.vault.url
        door.hosts = {name: [getattr(services, name).host] for name in SERVICES}
        secret = secrets.token_urlsafe(48)
        login = {"clientId": "acme", "apiUrl": door.url, "internalToken": live.token}
        logins = {
            **n8n.credential(package.LOGIN, login),
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
        errors = office.install("error-alert")
        office.flows["error-alert"] = errors
        for slug in templates.SLUGS[:3]:
            office.flows[slug] = n8n.activate(office.install(slug, errors=errors["id"]))
        office.flows["token-maintenance"] = office.install("token-maintenance", errors=errors["id"])
        yield office


@pytest.fixture
def office(open_office):
    """The same, and after each test the search: nothing of any user's token may be in n8n."""
    for each in open_office.services.each():
        each.forget()
    yield open_office
    open_office.door.faults.clear()
    open_office.door.slow_s = 0
    assert stored(open_office.n8n, *open_office.secrets) == []


# ------------------------------------------------------------------ what they do
def test_the_secure_base_answers_what_the_service_says(office):
    """200 with the service's answer, the token taken out of it; the service got the user's own token."""
    user, tokens = office.person("notion")
    answer = office.call(office.flows["secure-base"], user)
    assert (answer.status_code, answer.json()["ok"]) == (200, True), answer.text
    assert answer.json()["result"]["name"] == "Otobot"
    assert answer.json()["result"]["echo"]["raw"] == "[token]"
    assert office.services.notion.tokens() == set(tokens.values())


def test_drive_goes_to_notion_once(office):
    """A page a file, with its name, id and link, under each service's own token; the second time none is made."""
    user, tokens = office.person("google", "notion")
    google, notion, _ = office.services.each()
    google.files = FILES
    first = office.call(office.flows["drive-to-notion"], user, **ASKED)
    assert (first.status_code, first.json()) == (200, {"ok": True, "found": 2, "created": 2, "failed": 0}), first.text
    titles = [page["Name"]["title"][0]["text"]["content"] for page in notion.pages]
    assert titles == [each["name"] for each in FILES]
    assert (google.tokens(), notion.tokens()) == ({tokens["google"]}, {tokens["notion"]})
    assert f"'{ASKED['folderId']}' in parents" in google.asked[0]["query"]["q"]
    google.files = (*FILES, {"id": "3iJ", "name": "Nouveau.txt"})
    again = office.call(office.flows["drive-to-notion"], user, **ASKED)
    assert again.json() == {"ok": True, "found": 3, "created": 1, "failed": 0}
    third = office.call(office.flows["drive-to-notion"], user, **ASKED)
    assert third.json() == {"ok": True, "found": 3, "created": 0, "failed": 0}
    google.files = ()
    assert office.call(office.flows["drive-to-notion"], user, **ASKED).json()["found"] == 0


def test_a_notification_goes_where_the_user_is_connected(office):
    """Mail and Slack; Slack alone; nothing connected is 404."""
    flow = office.flows["multichannel-notification"]
    both, tokens = office.person("google", "slack")
    sent = office.call(flow, both, title="Été", text="Bonjour à tous", channel="#equipe")
    assert (sent.status_code, sent.json()["channels"]) == (200, {"mail": "sent", "slack": "sent"}), sent.text
    google, _, slack = office.services.each()
    assert (google.tokens(), slack.tokens()) == ({tokens["google"]}, {tokens["slack"]})
    assert slack.asked[0]["body"] == {"channel": "#equipe", "text": "*Été*\nBonjour à tous"}
    assert "To: lea@google.example" in mail(google.asked[0])[0]
    assert mail(google.asked[0])[1] == "Bonjour à tous"
    one, _ = office.person("slack", "notion")
    assert office.call(flow, one, text="x").json()["channels"] == {"mail": "not connected", "slack": "sent"}
    none, _ = office.person()
    assert office.call(flow, none, text="x").status_code == 404


def mail(asked):
    """The headers and the text of a mail that Gmail was given."""
    import base64
    import email

    raw = asked["body"]["raw"]
    message = email.message_from_bytes(base64.urlsafe_b64decode(raw + "=" * (-len(raw) % 4)))
    return str(message), message.get_payload(decode=True).decode()


def test_the_daily_maintenance_writes_to_who_has_to_connect_again(office):
    """On its own schedule: one mail a user, with every connection of his that ends; by the sender's account."""
    user, _ = office.person("github", "gitlab", expiresAt="2020-01-01T00:00:00Z")
    fine, _ = office.person("github", expiresAt="2199-01-01T00:00:00Z")
    document = templates.installed("token-maintenance", office.logins, office.values)
    for each in document["nodes"]:
        if each["name"] == "Chaque jour":
            each["parameters"]["rule"]["interval"] = [{"field": "seconds", "secondsInterval": 2}]
    flow = office.n8n.activate(office.n8n.store(document))
    google = office.services.google
    until(lambda: any(user in mail(each)[0] for each in google.asked), "the mail", 60)
    office.n8n.deactivate(flow)
    (text, *_) = [mail(each)[1] for each in google.asked if user in mail(each)[0]]
    assert "GitHub" in text
    assert "GitLab" in text
    assert not any(fine in mail(each)[0] for each in google.asked)
