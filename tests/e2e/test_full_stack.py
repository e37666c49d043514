"""Every service on one bare host with one command; then a second client beside it."""

from __future__ import annotations

import json
import shlex
import time
from collections.abc import Callable, Iterator
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass

import pytest

from tests.e2e import told
from tests.e2e.accepted import TRIED, accepted, shown
from tests.e2e.containers import all_healthy, containers, places, reached, service, worked
from tests.e2e.deployed import eventually
from tests.e2e.operator import Operator
from tests.e2e.site import answers, browser, echoed
from tests.e2e.visitors import Visitors
from tests.e2e.watch import ProcessLists
from tests.lab.host import Host
from tests.lab.lab import Lab
from tests.lab.shell import until
from tests.n8n import install
from tests.n8n.client import N8n
from tests.render.sample import catalog

pytestmark = pytest.mark.timeout(1500)  # of the first test: to install and start all this

SERVICES = ("postgres", "redis", "mongo", "vault-api", "token-refresher", "n8n", "tooljet", "librechat", "nginx")
WORKERS = 2
DOMAIN, OTHER = "acme.example", "beta.example"
# Every port that a service or the tools around it might have; what listens on the host is added to them.
PORTS = (21, 25, 111, 2375, 2376, 3000, 3001, 3080, 5432, 5678, 5679, 6379, 8080, 8081, 8082, 9090, 27017)
LIMIT_S = 600


@dataclass
class Deployed:
    """What the first deploy left behind, for every test of this module."""

    operator: Operator
    host: Host
    processes: str
    n8n: N8n


def edit(operator: Operator, change: Callable[[dict], object]) -> None:
    """Edit the manifest by hand, as an operator does."""
    path = operator.fleet / "clients-config.json"
    manifest = json.loads(path.read_text())
    change(manifest)
    path.write_text(json.dumps(manifest, indent=2) + "\n")


@pytest.fixture(scope="module")
def deployed(lab: Lab, tmp_path_factory) -> Iterator[Deployed]:
    """One bare host, one client with everything, deployed by one command; this fleet's n8n run in queue mode."""
    host = lab.make("bare", registry=True)
    try:
        folder = tmp_path_factory.mktemp("operator")
        operator = Operator(folder)
        operator.init()
        operator.add_host("vps-1", host)
        edit(operator, lambda manifest: manifest.update(defaults={"settings": {"n8n": {"mode": "queue"}}}))
        with ProcessLists() as lists:
            operator.create("acme", "vps-1", DOMAIN, *SERVICES)
        n8n = N8n(f"https://n8n.{DOMAIN}", folder, folder)
        n8n.http = browser(host.address)
        n8n.http.base_url = n8n.url
        yield Deployed(operator, host, lists.text(), n8n)
        n8n.http.close()
    finally:
        lab.destroy(host)


def test_every_container_is_healthy(deployed):
    """By Docker's own word and by `status`: nine services, n8n with its two workers."""
    found = sorted(map(service, containers(deployed.host, "otobot-acme")))
    assert found == sorted([*(name for name in SERVICES if name != "nginx"), *["n8n-worker"] * WORKERS])
    assert all_healthy(deployed.host, "otobot-acme")
    assert all_healthy(deployed.host, "otobot-front")
    told = deployed.operator.data("status", "vps-1")["hosts"][0]
    releases = {release["client"]: release for release in told["releases"]}
    assert {name for name, state in releases["acme"]["services"].items() if state == "healthy"} >= set(SERVICES) - {
        "nginx"
    }
    assert releases["front"]["services"]["nginx"] == "healthy"
    assert all(release["trouble"] == {} for release in releases.values())


def test_every_container_has_limits(deployed):
    """Of memory and of processes; the kernel's own numbers are Docker's."""
    for project in ("otobot-acme", "otobot-front"):
        for each in containers(deployed.host, project):
            assert each["HostConfig"]["Memory"] > 0, each["Name"]
            assert each["HostConfig"]["PidsLimit"] > 0, each["Name"]


def sites_answer(deployed: Deployed) -> bool:
    """Each name says that its service is well, through the proxy."""
    wanted = {
        f"https://{DOMAIN}/health": '"status"',
        f"https://n8n.{DOMAIN}/healthz": '"status":"ok"',
        f"https://app.{DOMAIN}/api/health": '"works":"yeah"',
        f"https://chat.{DOMAIN}/health": "OK",
    }
    with browser(deployed.host.address) as visitor:
        found = {url: visitor.get(url) for url in wanted}
    return all(found[url].status_code == 200 and words in found[url].text for url, words in wanted.items())


def test_each_name_answers_from_outside(deployed):
    """The domain, n8n., app. and chat. over TLS; n8n's figures are nobody's business."""
    assert sites_answer(deployed)
    with browser(deployed.host.address) as visitor:
        for path in ("/metrics", "/metrics/"):
            assert visitor.get(f"https://n8n.{DOMAIN}{path}").status_code == 404
        assert visitor.post(f"https://chat.{DOMAIN}/api/auth/register", json={}).status_code == 403
        assert visitor.post(f"https://app.{DOMAIN}/api/signup", json={}).status_code == 403
        assert visitor.get(f"http://n8n.{DOMAIN}/healthz").headers["location"].startswith(f"https://n8n.{DOMAIN}/")


def test_a_websocket_goes_through_the_proxy(deployed):
    """What is sent on ToolJet's comes back."""
    assert echoed(deployed.host.address, f"app.{DOMAIN}", "/ws", "bonjour") == "bonjour"


def test_a_webhook_is_executed_by_a_worker(deployed):
    """The owner makes a workflow and switches it on; who calls its address gets what a worker computed."""
    n8n, path = deployed.n8n, "from-outside"
    n8n.log_in("it@acme.example", deployed.operator.secrets("acme")["N8N_OWNER_PASSWORD"])
    hook = {
        "name": "Webhook", "type": "n8n-nodes-base.webhook", "typeVersion": 2, "webhookId": path,
        "parameters": {"path": path, "httpMethod": "GET", "responseMode": "lastNode"},
    }  # fmt: skip
    code = "return [{json: {sum: 40 + 2, asked: $input.first().json.query.word}}]"
    answer = {"name": "Answer", "type": "n8n-nodes-base.code", "typeVersion": 2, "parameters": {"jsCode": code}}
    made = n8n.workflow(hook, answer)
    activated = n8n.ask("PATCH", f"/workflows/{made['id']}", {"active": True, "versionId": made["versionId"]})
    assert activated["active"] is True
    before = worked(deployed.host)

    def called() -> dict | None:
        # Active means that n8n was told; the address is there a moment later.
        with browser(deployed.host.address) as visitor:
            said = visitor.get(f"{n8n.url}/webhook/{path}?word=oui")
        return said.json() if said.status_code == 200 else None

    assert eventually(called, LIMIT_S, 1) == {"sum": 42, "asked": "oui"}
    eventually(lambda: worked(deployed.host) > before, LIMIT_S, 1)


def test_a_deploy_prepared_n8n_and_prepares_what_is_chosen_later(deployed):
    """The owner, both credentials; two workflows, and the one that is told of failures, with the next deploy, inactive.

    Then an edit in the editor stays, and the carried file of it is the same on the other side.
    """
    operator, n8n = deployed.operator, deployed.n8n
    named = {each["name"]: each["id"] for each in n8n.ask("GET", "/credentials")}
    assert named == {"Otobot API Connection": "otobotApiConnect", "Otobot Webhook Secret": "otobotWebhookKey"}
    chosen = {"mode": "queue", "workflows": ["secure-base", "drive-to-notion"]}
    edit(operator, lambda manifest: manifest.update(defaults={"settings": {"n8n": chosen}}))
    with ProcessLists() as lists:
        assert operator.data("host", "apply", "vps-1")["changed"] == ["provision-acme/n8n"]
    assert operator.data("host", "apply", "vps-1")["changed"] == []
    assert "import:workflow" in lists.text()  # the control: it did look
    assert [name for name, value in operator.secrets("acme").items() if value in lists.text()] == []
    exported = operator.data("n8n", "export", "acme")["workflows"]
    ours = {row["id"]: row for row in exported if row["id"].startswith("otobot")}
    assert set(ours) == {"otobotSecureBase", "otobotDriveNotio", "otobotErrorAlert"}
    assert not any(row["active"] for row in ours.values())
    file = operator.fleet / "clients/acme/workflows" / ours["otobotErrorAlert"]["file"]
    file.write_text(file.read_text().replace(ours["otobotErrorAlert"]["name"], "Alerte de ACME"))
    assert operator.run("n8n", "import", "acme", str(file), check=False).returncode == 2  # nobody said that it may
    (row,) = operator.data("--yes", "n8n", "import", "acme", str(file))["workflows"]
    assert (row["did"], row["name"]) == ("updated", "Alerte de ACME")
    (row,) = operator.data("--yes", "n8n", "import", "acme", str(file))["workflows"]
    assert row["did"] == "unchanged"
    assert n8n.ask("GET", "/workflows/otobotErrorAlert")["name"] == "Alerte de ACME"
    assert operator.data("host", "apply", "vps-1")["changed"] == []


def test_a_second_apply_is_one_execution_and_no_change(deployed):
    """Counted by the host's own sshd."""
    deployed.host.mark_sessions()
    again = deployed.operator.data("host", "apply", "vps-1")
    assert again["changed"] == []
    assert again["executions"] == 1
    until(lambda: deployed.host.sessions() == 1, "sessions", 60)


def test_no_secret_was_in_a_process_list_or_said(deployed):
    """Each minted value, while everything was installed and started."""
    values = deployed.operator.secrets("acme")
    assert len(values) > 15
    said = "".join(deployed.operator.said)
    assert [name for name, value in values.items() if value in deployed.processes or value in said] == []
    assert "docker" in deployed.processes  # the control: it did look while the deploy ran


def test_a_login_to_mongodb_that_is_refused_is_found_and_put_right(deployed):
    """By the doctor: the password in the database is not LibreChat's any more, until --fix sets it."""
    operator, another = (
        deployed.operator,
        'db.getSiblingDB("librechat").updateUser("librechat_owner", {pwd: "another"})',
    )
    admin = f"IFS= read -r P; export P; mongosh --quiet --norc mongodb://mongo:27017/admin --eval 'db.auth(\"otobot_admin\", process.env.P); {another}'"
    argv = ["docker", "exec", "--interactive", "otobot-acme-mongo-1", "sh", "-c", admin]
    password = operator.secrets("acme")["MONGO_PASSWORD"]
    deployed.host.ssh(shlex.join(argv), input=f"{password}\n", user="root")

    def unheard(*words: str) -> list[told.Told]:
        (host,) = json.loads(operator.run("doctor", *words, "--json", check=False).stdout)["data"]["hosts"]
        return told.unheard(host, *told.MONGO)

    assert unheard() == []
    assert unheard("--fix", "--yes") == list(told.MONGO)
    eventually(lambda: sites_answer(deployed), LIMIT_S, 2)


@pytest.mark.timeout(2400)
def test_everything_is_rotated_while_visitors_come(deployed, record_property):
    """Of each secret one value is valid, a new one; the stateless services, n8n's data and its webhook lose nothing.

    What seals data stays as it was; sessions that n8n has signed are over.
    """
    operator, host, n8n = deployed.operator, deployed.host, deployed.n8n
    before = operator.secrets("acme")
    assert accepted(host, before) == TRIED  # the control
    with Visitors(host) as vault, Visitors(host, f"chat.{DOMAIN}") as chat:
        # The stand-in for MongoDB's image has no mongodump, so that there can be no archive.
        rotate = ("secrets", "rotate", "acme", "--all", "--yes", "--no-backup", "--json")
        done = json.loads(operator.run(*rotate, limit_s=2100).stdout)["data"]
    for name, visitors in (("vault", vault), ("chat", chat)):
        record_property(f"{name}_visits", len(visitors.answers))
        record_property(f"{name}_slowest_s", visitors.slowest_s())
        assert len(visitors.answers) > 20
        assert visitors.refused() == []
    now = operator.secrets("acme")
    exchanged = {name: value for name, value in before.items() if now[name] != value}
    kept = {spec.name for spec in catalog().secret_specs(SERVICES) if spec.rotation == "refused"}
    assert set(before) - set(exchanged) == kept >= {"N8N_ENCRYPTION_KEY", "LOCKBOX_MASTER_KEY", "CREDS_KEY", "CREDS_IV"}
    # Sessions of the vault live on for a quarter of an hour: what they were signed with waits.
    assert set(done["rotated"]) == set(exchanged) - {"API_JWT_SECRET"}
    assert list(done["waiting"]) == ["API_JWT_SECRET"]
    assert accepted(host, now) == TRIED
    assert accepted(host, before) == set()
    there = [*containers(host, "otobot-acme"), *containers(host, "otobot-front")]
    assert shown(there, exchanged) == {"API_JWT_SECRET"}
    assert {"N8N_USER_MANAGEMENT_JWT_SECRET", "SECRET_KEY_BASE", "JWT_SECRET", "JWT_REFRESH_SECRET", *kept} - shown(
        there, now
    ) == {"N8N_OWNER_PASSWORD", "TOOLJET_ADMIN_PASSWORD"}  # these are in no environment
    assert all_healthy(host, "otobot-acme")
    assert sites_answer(deployed)
    assert n8n.http.get("/rest/workflows").status_code == 401
    n8n.http.headers.pop("cookie", None)
    n8n.log_in("it@acme.example", now["N8N_OWNER_PASSWORD"])
    opened = n8n.ask("GET", "/credentials/otobotWebhookKey?includeData=true")
    assert opened["data"]["name"] == "x-otobot-webhook-secret"
    assert n8n.http.get("/webhook/from-outside?word=oui").json() == {"sum": 42, "asked": "oui"}
    assert operator.data("host", "apply", "vps-1")["changed"] == []
    said = "".join(operator.said)
    assert [name for name, value in {**before, **now}.items() if value in said] == []


def test_keys_of_ia_interne_come_and_go_by_a_deploy(deployed):
    """In n8n's credential and in the vault's connection, in no process list; a second apply writes nothing."""
    operator, n8n, host = deployed.operator, deployed.n8n, deployed.host
    gpu = {"domain": "ia.otobot.example", "email": "it@otobot.example", "cpu": True, "models": ["tiny:1b"]}
    # Nobody answers there: what the fleet says is delivered all the same.
    away = {"address": host.address, "port": 1, "stack": "gpu", "gpu": gpu}
    edit(operator, lambda manifest: manifest["hosts"].update({"gpu-1": away}))
    try:
        for purpose in ("n8n", "vault"):
            assert operator.run("gpu", "keys", "add", "acme", "--purpose", purpose, check=False).returncode != 0
        keys = [operator.secrets("acme")[f"IA_INTERNE_API_KEY_{purpose}"] for purpose in ("N8N", "VAULT")]
        both = {"provision-acme/n8n", "provision-acme/vault-api"}
        with ProcessLists() as lists:
            assert both <= {*operator.data("host", "apply", "vps-1")["changed"]}
        assert operator.data("host", "apply", "vps-1")["changed"] == []
        assert "import:credentials" in lists.text()  # the control: it did look
        assert not [key for key in keys if key in lists.text() + "".join(operator.said)]
        assert "otobotIaInterne" in {each["id"] for each in n8n.ask("GET", "/credentials")}
        (stored,) = operator.data("vault", "connection", "list", "acme")
        assert (stored["service"], stored["account"].split()[0]) == ("ia-interne", "https://ia.otobot.example/v1")
    finally:
        edit(operator, lambda manifest: manifest["hosts"].pop("gpu-1"))
    assert both <= {*operator.data("host", "apply", "vps-1")["changed"]}
    assert "otobotIaInterne" not in {each["id"] for each in n8n.ask("GET", "/credentials")}
    assert operator.data("host", "apply", "vps-1")["changed"] == []


def test_a_second_client_shares_nothing_but_the_proxy(deployed):
    """The same services beside the first: no port, name or value in common, and no way from one to the other."""
    operator, host = deployed.operator, deployed.host

    def settle(manifest: dict) -> None:
        manifest["clients"]["acme"]["settings"] = manifest.pop("defaults")["settings"]

    edit(operator, settle)
    operator.create("beta", "vps-1", OTHER, "postgres", "vault-api", "n8n", "nginx")
    mine, theirs = operator.secrets("acme"), operator.secrets("beta")
    assert {"POSTGRES_PASSWORD", "N8N_ENCRYPTION_KEY", "ENCRYPTION_MASTER_KEY"} <= mine.keys() & theirs.keys()
    assert set(mine.values()) & set(theirs.values()) == set()
    with browser(host.address) as visitor:
        assert visitor.get(f"https://n8n.{OTHER}/healthz").status_code == 200
        assert visitor.get(f"https://{OTHER}/health").status_code == 200
    assert sites_answer(deployed)
    assert all_healthy(host, "otobot-acme")
    assert operator.data("host", "apply", "vps-1")["changed"] == []
    for here, there in (("acme", "beta"), ("beta", "acme")):
        own, foreign = places(host, here), places(host, there)
        assert len(foreign) >= 6  # PostgreSQL, the vault and n8n, by address and by name
        found = reached(host, f"otobot-{here}-n8n-1", [*own, *foreign])
        assert found >= {("postgres", 5432), ("vault-api", 3001)}  # the control: it does reach its own
        assert found & foreign == set()


def test_only_ssh_and_the_proxy_answer_from_outside(deployed):
    """A connect test over IPv4 and IPv6, with Docker and two clients running, at every port that listens anywhere there."""
    heard = deployed.host.ssh("ss -Hltn", user="root").stdout
    listening = {int(line.split()[3].rpartition(":")[2]) for line in heard.splitlines()}
    assert {22, 80, 443, 3001} <= listening  # the control: the vault listens, on 127.0.0.1
    for address in (deployed.host.address, deployed.host.address6):
        tried = sorted({*listening, *PORTS})
        with ThreadPoolExecutor(16) as pool:
            found = dict(zip(tried, pool.map(lambda port, at=address: answers(at, port), tried), strict=True))
        assert [port for port, yes in found.items() if yes] == [22, 80, 443], address


def test_everything_comes_back_by_itself_after_a_reboot(deployed):
    """Both clients and the proxy, healthy and answering, without anybody's command; the workflow too."""
    begin = time.monotonic()
    deployed.host.reboot(timeout_s=LIMIT_S)
    projects = ("otobot-acme", "otobot-beta", "otobot-front")
    eventually(lambda: all(all_healthy(deployed.host, project) for project in projects), LIMIT_S, 2)
    print(f"back after {time.monotonic() - begin:.0f} s")
    eventually(lambda: sites_answer(deployed), LIMIT_S, 2)
    with browser(deployed.host.address) as visitor:
        url = f"{deployed.n8n.url}/webhook/from-outside?word=oui"
        eventually(lambda: visitor.get(url).status_code == 200, LIMIT_S, 2)
    assert deployed.operator.data("host", "apply", "vps-1")["changed"] == []


def test_it_is_the_real_n8n(deployed):
    """By its own word: the newest 1.x that npm has, which here stands under the tag that the template pins."""
    told = deployed.host.ssh("docker exec otobot-acme-n8n-1 n8n --version", user="root").stdout.split()[-1]
    assert told == install.NEWEST
