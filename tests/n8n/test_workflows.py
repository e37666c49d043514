"""The workflow templates in a real n8n: they do their work, and leave no token anywhere, however a run ends."""

from __future__ import annotations

import secrets

import pytest

from otobotctl.doctor.checks import n8n_workflows
from scripts.story import vault
from tests.lab.shell import until
from tests.n8n import client, faults, package, providers, templates
from tests.n8n.office import ASKED, body, mail, opened, subject, text
from tests.n8n.search import stored
from tests.vault_api.conftest import Live

FILES = (
    {"id": "1aB_c-D", "name": "Devis d'été.pdf", "webViewLink": "https://drive.google.com/file/d/1aB_c-D"},
    {"id": "2eF_g-H", "name": "Contrat.docx", "webViewLink": "https://drive.google.com/file/d/2eF_g-H"},
)
# Behind which node a run is made to wait: one that has just had a token in its hands.
CALLS = {
    "secure-base": "Appeler le service",
    "drive-to-notion": "Créer la page",
    "multichannel-notification": "Envoyer le mail",
    "token-maintenance": "Envoyer l'alerte",
}


@pytest.fixture(scope="module")
def services(third_party):
    """The three, under the certificate that n8n trusts."""
    with providers.running(third_party[1]) as served:
        yield served


@pytest.fixture(scope="module")
def open_office(n8n, vault_at, live, services):
    """Everything in place, once a module."""
    before = vault_at.hosts
    office = opened(n8n, vault_at, live, services)
    yield office
    vault_at.hosts = before
    assert stored(n8n, *office.secrets) == []


@pytest.fixture
def office(open_office):
    """The same, and after each test the search for its users' tokens; for everybody's after the last one."""
    for each in open_office.services.each():
        each.forget()
    open_office.services.google.files = FILES
    before = len(open_office.secrets)
    yield open_office
    open_office.door.faults.clear()
    open_office.door.slow_s = 0
    assert stored(open_office.n8n, *open_office.secrets[before:]) == []


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
    flow, asked = office.flows["drive-to-notion"], ASKED["drive-to-notion"]
    first = office.call(flow, user, **asked)
    assert (first.status_code, first.json()) == (200, {"ok": True, "found": 2, "created": 2, "failed": 0}), first.text
    titles = [page["Name"]["title"][0]["text"]["content"] for page in notion.pages]
    assert titles == [each["name"] for each in FILES]
    assert [page["URL"]["url"] for page in notion.pages] == [each["webViewLink"] for each in FILES]
    assert (google.tokens(), notion.tokens()) == ({tokens["google"]}, {tokens["notion"]})
    assert f"'{asked['folderId']}' in parents" in google.asked[0]["query"]["q"]
    google.files = (*FILES, {"id": "3iJ", "name": "Nouveau.txt"})
    assert office.call(flow, user, **asked).json() == {"ok": True, "found": 3, "created": 1, "failed": 0}
    assert office.call(flow, user, **asked).json() == {"ok": True, "found": 3, "created": 0, "failed": 0}
    google.files = ()
    assert office.call(flow, user, **asked).json() == {"ok": True, "found": 0, "created": 0, "failed": 0}


def test_what_notion_refuses_is_counted_and_told(office):
    """One page of two refused: 502 with how many are there; the next run makes the missing one."""
    user, _ = office.person("google", "notion")
    flow, asked = office.flows["drive-to-notion"], ASKED["drive-to-notion"]
    office.services.notion.broken = ["/v1/pages"]
    answer = office.call(flow, user, **asked)
    assert (answer.status_code, answer.json()["created"], answer.json()["failed"]) == (502, 1, 1), answer.text
    assert answer.json()["error"] == "localhost answers 500"
    assert office.call(flow, user, **asked).json() == {"ok": True, "found": 2, "created": 1, "failed": 0}


def test_a_notification_goes_where_the_user_is_connected(office):
    """Mail and Slack; Slack alone; nothing connected is 404; what is refused is said."""
    flow, asked = office.flows["multichannel-notification"], ASKED["multichannel-notification"]
    google, _, slack = office.services.each()
    both, tokens = office.person("google", "slack")
    sent = office.call(flow, both, **asked)
    assert (sent.status_code, sent.json()["channels"]) == (200, {"mail": "sent", "slack": "sent"}), sent.text
    assert (google.tokens(), slack.tokens()) == ({tokens["google"]}, {tokens["slack"]})
    assert slack.asked[0]["body"] == {"channel": "#equipe", "text": "*Été*\nBonjour à tous"}
    message = mail(google.asked[0])
    assert (message["To"], subject(message), text(message)) == ("lea@google.example", "Été", "Bonjour à tous")
    google.refusals, slack.refusals = [403], [200]
    refused = office.call(flow, both, **asked)
    assert refused.json()["channels"] == {"mail": "gmail answers 403", "slack": "slack answers 200"}
    assert (refused.status_code, refused.json()["ok"]) == (502, False)
    one, _ = office.person("slack", "notion")
    assert office.call(flow, one, **asked).json()["channels"] == {"mail": "not connected", "slack": "sent"}
    none, _ = office.person()
    assert office.call(flow, none, **asked).status_code == 404


def test_the_daily_maintenance_writes_to_who_has_to_connect_again(office):
    """On a schedule: one mail a user, with every connection of his that ends, by the sender's account."""
    user, _ = office.person("github", "gitlab", expiresAt="2020-01-01T00:00:00Z")
    fine, _ = office.person("github", expiresAt="2199-01-01T00:00:00Z")
    document = office.document("token-maintenance")
    interval = [{"field": "seconds", "secondsInterval": 2}]
    templates.node(document, "Chaque jour")["parameters"]["rule"]["interval"] = interval
    flow = office.n8n.activate(office.n8n.store(document))
    google = office.services.google
    until(lambda: [asked for asked in google.asked if user in mail(asked)["To"]], "the mail", 60)
    office.n8n.deactivate(flow)
    message = next(mail(asked) for asked in google.asked if user in mail(asked)["To"])
    assert subject(message) == "Connexions à renouveler"
    assert "- GitHub (lea@github.example) : à reconnecter maintenant" in text(message)
    assert "- GitLab" in text(message)
    assert not [asked for asked in google.asked if fine in mail(asked)["To"]]


def test_a_failure_is_told_and_the_mail_holds_no_data(office):
    """The maintenance cannot send: its run fails, and the error alert says which workflow, which node and why."""
    office.person("github", expiresAt="2020-01-01T00:00:00Z")
    nobody, _ = office.person()
    document = office.document("token-maintenance", senderUserId=nobody)
    interval = [{"field": "seconds", "secondsInterval": 2}]
    templates.node(document, "Chaque jour")["parameters"]["rule"]["interval"] = interval
    flow = office.n8n.activate(office.n8n.store(document))
    google = office.services.google
    until(lambda: google.asked, "the alert", 60)
    office.n8n.deactivate(flow)
    office.n8n.executions_ended()
    failed = len(office.n8n.runs(flow))
    until(lambda: len(office.n8n.runs(office.flows["error-alert"])) >= failed, "an alert for each failure", 60)
    message = mail(google.asked[0])
    assert message["To"] == "ops@acme.example"
    assert text(message).splitlines()[:2] == ["Otobot – Maintenance des jetons", "Signaler"]
    assert "alert(s) not sent: Connection not found" in text(message)


# ------------------------------------------------------------------ how a run may go
@pytest.mark.parametrize("slug", CALLS)
def test_a_click_on_execute_leaves_no_token(office, slug):
    """A manual run, with what the webhook would bring pinned to it, kept whole."""
    user, tokens = office.person("google", "notion", "slack", expiresAt="2199-01-01T00:00:00Z")
    office.person("github", expiresAt="2020-01-01T00:00:00Z")
    run = clicked(office, office.flows[slug], slug, user)
    assert run.status == "success", run.error
    assert asked_with(office) & {*tokens.values(), *office.secrets}


@pytest.mark.parametrize("slug", CALLS)
def test_a_run_that_waits_leaves_no_token(office, slug):
    """It lies in the database while it waits, and again when it has gone on: both are searched."""
    user, tokens = office.person("google", "notion", "slack")
    office.person("github", expiresAt="2020-01-01T00:00:00Z")
    document = templates.paused(office.document(slug), CALLS[slug])
    document["settings"].pop("errorWorkflow")  # its mail would come in the midst of the next test
    flow = office.n8n.store(document)
    waiting = clicked(office, flow, slug, user)
    assert waiting.status == "waiting", waiting.error
    assert asked_with(office)
    assert stored(office.n8n, *tokens.values(), office.live.token) == []
    resumed = office.n8n.http.get(f"/webhook-waiting/{waiting.id}")
    assert resumed.status_code == 200, resumed.text
    # The maintenance then finds its mails' answers gone, which a Pause takes away, and says so.
    ends = {"error"} if slug == "token-maintenance" else {"success"}
    until(lambda: office.n8n.execution(waiting.id).status in ends, "the end of the run", 60)


def test_a_called_run_that_waits_leaves_no_token(office):
    """The same in production: called by its webhook, asleep in the database, gone on."""
    user, tokens = office.person("notion")
    flow = office.n8n.activate(office.n8n.store(templates.paused(office.document("secure-base"), CALLS["secure-base"])))
    with office.calling(
        flow, user
    ):  # n8n may hold the answer back until the run has gone on, and 1.41.1 never gives it
        waiting = until(
            lambda: [run for run in office.n8n.runs(flow) if run.status == "waiting"], "the run to wait", 60
        )
        assert asked_with(office) == set(tokens.values())
        assert stored(office.n8n, *tokens.values(), office.live.token) == []
        assert office.n8n.http.get(f"/webhook-waiting/{waiting[0].id}").status_code == 200
        until(lambda: office.n8n.execution(waiting[0].id).status == "success", "the end of the run", 60)


def clicked(office, flow, slug, user):
    """Execute a template by hand, for this user."""
    if slug == "token-maintenance":
        return office.n8n.click(flow, "Chaque jour")
    came = {"headers": {}, "params": {}, "query": {}, "body": body(user, ASKED[slug])}
    return office.n8n.click(flow, "Webhook", came)


def asked_with(office):
    """The tokens that services were shown."""
    return set().union(*(each.tokens() for each in office.services.each()))


@pytest.mark.parametrize("status", [401, 429, 500])
def test_a_refusal_of_the_service_leaves_no_token(office, status):
    """Every template, whatever the service says: an answer for the caller, and nothing of the token."""
    user, _ = office.person("google", "notion", "slack")
    for slug, asked in ASKED.items():
        for each in office.services.each():
            each.refusals = [status] * 9
        answer = office.call(office.flows[slug], user, **asked)
        assert answer.status_code in {404, 409, 429, 502}, answer.text
        assert answer.json()


def test_the_search_would_have_found_a_token(office):
    """The control: what a caller sends is kept by n8n, in every kind of run, and found there."""
    user, _ = office.person("notion")
    planted = [f"tok_{secrets.token_hex(12)}+/=" for _ in range(3)]
    flow = office.flows["secure-base"]
    office.call(flow, user, note=planted[0])
    came = {"headers": {}, "body": {**body(user, {}), "note": planted[1]}}
    office.n8n.click(flow, "Webhook", came)
    paused = office.n8n.store(templates.paused(office.document("secure-base"), CALLS["secure-base"]))
    office.n8n.click(paused, "Webhook", {"headers": {}, "body": {**body(user, {}), "note": planted[2]}})
    found = stored(office.n8n, *planted)
    assert {f"pg_dump: raw of secret {number}" for number in range(3)} <= set(found)


# ------------------------------------------------------------------ what goes wrong
@pytest.fixture(scope="module")
def other_client(live, postgres, tmp_path_factory):
    """The vault of another client, in the same database."""
    environment = {**live.environment, "VAULT_CLIENT": "beta"}
    with vault.serving(environment, tmp_path_factory.mktemp("beta") / "log.jsonl") as running:
        yield Live(running, environment, postgres)


@pytest.mark.parametrize("fault", faults.CAUSES)
def test_each_fault_gives_what_is_documented(office, other_client, fault):
    """The row of docs/n8n.md: the caller's status and the error; and of a wrong caller's token no service hears."""
    answer = faults.CAUSES[fault](office, other_client)
    assert (answer.status_code, answer.json()["error"]) == faults.documented()[fault], answer.text
    if answer.status_code == 502 and "answers" not in answer.text:
        assert answer.json()["advice"]
    if fault.startswith(("vault", "wrong", "user of", "unknown", "no ", "another")):
        assert not asked_with(office)


def test_every_documented_fault_is_tried():
    """No row of the table is only words."""
    assert set(faults.documented()) == set(faults.CAUSES)


def test_the_doctor_finds_what_could_keep_a_token_and_nothing_else(office):
    """Its question to n8n's own database: settings that save, tokens pinned and typed in, exposing nodes; no value."""

    def flow(name, *nodes, settings=None, pinned=None):
        placed = [{"id": str(n), "position": [0, 0], "parameters": {}, **node} for n, node in enumerate(nodes)]
        return office.n8n.store({
            "name": name, "nodes": placed, "connections": {}, "settings": settings or {}, "pinData": pinned or {},
        })["id"]  # fmt: skip

    vault_node = {"type": package.TYPE, "typeVersion": 1}
    http = {"name": "HTTP", "type": "n8n-nodes-base.httpRequest", "typeVersion": 4.2}
    token = "abcdefghijklmnop1234"
    header = {"headerParameters": {"parameters": [{"name": "Authorization", "value": f"Bearer {token}"}]}}
    mine = {
        flow("saves", settings={"saveDataErrorExecution": "all", "saveManualExecutions": True}),
        flow("pins", client.trigger(), pinned={"Start": [{"json": {"accessToken": token}}]}),
        flow("types", {**http, "parameters": header}),
        flow("exposes", {**vault_node, "name": "Jeton", "parameters": {"operation": "getUserCredentials"}}),
        flow("asks for nothing", {**http, "parameters": {"url": "={{ $json.accessToken }}"}}),
        flow("calls", {**vault_node, "name": "Appel", "parameters": {"operation": "callServiceApi"}}),
        *(office.n8n.store(templates.load(slug) | {"name": f"as shipped {slug}"})["id"] for slug in templates.SLUGS),
    }
    rows = office.n8n.rows(n8n_workflows.QUESTION)
    assert [row[1:] for row in rows if row[0] in mine] == [
        ("exposes", True, "exposes", "Jeton"),
        ("pins", False, "pinned", "Start"),
        ("saves", False, "saves", "saveDataErrorExecution, saveManualExecutions"),
        ("types", False, "typed", "HTTP"),
    ]
    assert token not in str(rows)


# ------------------------------------------------------------------ what comes in
@pytest.mark.parametrize("slug", ASKED)
def test_a_caller_without_the_secret_starts_nothing(office, slug):
    """403 of n8n itself; no service and no vault is asked."""
    user, _ = office.person("google", "notion", "slack")
    assert office.call(office.flows[slug], user, secret="x" * 64, **ASKED[slug]).status_code == 403
    assert not asked_with(office)


@pytest.mark.parametrize(
    ("slug", "user", "parameters"),
    [
        ("secure-base", "no uuid", {}),
        ("drive-to-notion", "../../x", ASKED["drive-to-notion"]),
        ("drive-to-notion", None, {**ASKED["drive-to-notion"], "folderId": "x' or '1'='1"}),
        ("drive-to-notion", None, {"folderId": "x", "databaseId": "../../v1/users"}),
        ("multichannel-notification", None, {"text": ""}),
        ("multichannel-notification", None, {"text": "x", "email": "a@b.example\r\nBcc: c@d.example"}),
        ("multichannel-notification", None, {"text": "x", "email": "a@b.example, c@d.example"}),
    ],
)
def test_what_is_not_understood_is_refused_before_anything_is_asked(office, slug, user, parameters):
    """400 with what is needed, and no service is called."""
    known, _ = office.person("google", "notion", "slack")
    answer = office.call(office.flows[slug], user or known, **parameters)
    assert (answer.status_code, answer.json()["error"]) == (400, "Invalid input"), answer.text
    assert not asked_with(office)


@pytest.mark.parametrize("slug", templates.SLUGS)
def test_a_template_keeps_to_the_rules(slug):
    """As it is in the repository: nothing saved, nothing pinned, no exposing operation, the client's own time zone."""
    document = templates.load(slug)
    assert {name: document["settings"][name] for name in client.SAVE_ALL} == {
        "saveDataSuccessExecution": "none",
        "saveDataErrorExecution": "none",
        "saveManualExecutions": False,
        "saveExecutionProgress": False,
    }
    assert "timezone" not in document["settings"]
    assert (document["pinData"], document["active"]) == ({}, False)
    assert "getUserCredentials" not in str(document)
    kinds = {kind: login for node in document["nodes"] for kind, login in node.get("credentials", {}).items()}
    assert kinds.pop("otobotDatabaseApi") == {"id": "otobotApiConnect", "name": "Otobot API Connection"}
    assert kinds in ({}, {"httpHeaderAuth": {"id": "otobotWebhookKey", "name": "Otobot Webhook Secret"}})
