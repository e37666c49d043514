"""What a deploy prepares in n8n: once, again, after somebody's edits, and killed in between."""

from __future__ import annotations

import json
import secrets
import shutil
from pathlib import Path
from types import SimpleNamespace

import psycopg
import pytest

from scripts.story import embedded
from tests.e2e.watch import ProcessLists
from tests.lab.shell import until
from tests.n8n import package, real, stubs
from tests.n8n.client import trigger
from tests.n8n.provisioning import OWNER, Programs, credential, workflow


@pytest.fixture(scope="module")
def bare(tree, postgres, tmp_path_factory):
    """An n8n as it starts for the first time, the programs for it, and its database."""
    name, password = real.own_database(postgres.server)
    folder = tmp_path_factory.mktemp("n8n")
    package.place(tree / "bin/node", folder)
    settings = {
        **real.database_settings(postgres.server, name, password),
        "N8N_ENCRYPTION_KEY": secrets.token_hex(32),
        "N8N_SECURE_COOKIE": "true",
    }
    with (
        real.serving(tree, folder, settings, owner=False) as n8n,
        psycopg.connect(postgres.server.address(name), autocommit=True) as database,
    ):
        programs = Programs(n8n, tree, tmp_path_factory.mktemp("bin"))
        yield SimpleNamespace(n8n=n8n, programs=programs, database=database, tree=tree)


@pytest.fixture
def prepared(bare):
    """The same with its owner, who is logged in."""
    bare.programs.made([OWNER])
    if not bare.n8n.http.headers.get("cookie"):
        bare.n8n.log_in(OWNER["email"], OWNER["password"])
    return bare


@pytest.fixture
def quick(prepared, tmp_path):
    """The programs with a stand-in for n8n's command line, which takes seconds to start."""
    (tmp_path / "node_modules").symlink_to(prepared.tree / "node_modules")
    shutil.copy(Path(__file__).with_name("quick_n8n.js"), tmp_path / "n8n")
    (tmp_path / "n8n").chmod(0o755)
    return Programs(prepared.n8n, prepared.tree, tmp_path)


def decrypted(bare, identity, tmp_path):
    """A credential as n8n itself opens it."""
    out = tmp_path / "credential.json"
    argv = ["export:credentials", f"--id={identity}", "--decrypted", f"--output={out}"]
    bare.programs.run(str(bare.tree / "node_modules/n8n/bin/n8n"), *argv)
    (found,) = json.loads(out.read_text())
    return found


def test_dockers_health_check_is_true_of_it(bare):
    """Once its migrations are through; of nobody it is false."""
    assert real.healthy(bare.tree / "bin/node", bare.n8n.http.base_url.port)
    assert not real.healthy(bare.tree / "bin/node", embedded.free_port())


def test_one_run_prepares_everything_and_the_next_changes_nothing(bare):
    """A bare n8n has its owner, its credential and its workflow; no token is in a process list, in a word or plain."""
    token = secrets.token_urlsafe(48)
    items = [OWNER, credential(token), workflow("first", "bonjour")]
    assert {*list(bare.programs.check(items).values())[1:]} == {"absent"}
    with ProcessLists() as lists:
        said = bare.programs.made(items)
    assert [line.split()[0] for line in said][-2:] == ["stored", "stored"]
    (email,) = bare.database.execute('SELECT email FROM "user"').fetchone()
    assert email == OWNER["email"]
    assert set(bare.programs.check(items).values()) == {"ready"}
    assert bare.programs.made(items) == []
    assert "import:credentials" in lists.text()  # the control: it did look
    assert token not in lists.text() + "".join(said)
    assert OWNER["password"] not in lists.text() + "".join(said)
    sql = "SELECT data FROM credentials_entity WHERE id = 'otobotApiConnect'"
    (stored,) = bare.database.execute(sql).fetchone()
    assert token not in stored


def test_a_rotated_token_arrives_and_so_does_one_that_was_typed_over(prepared, tmp_path):
    """What the credential holds is the store's word, whatever was before; n8n itself opens it."""
    programs, first, second = prepared.programs, credential("one", "rotating"), credential("two", "rotating")
    programs.made([first])
    assert programs.check([first]) == {first["name"]: "ready"}
    assert programs.check([second]) == {second["name"]: "stale"}
    body = {"name": second["title"], "type": package.LOGIN, "data": {**first["data"], "internalToken": "typed"}}
    prepared.n8n.ask("PATCH", "/credentials/rotating", {**body, "nodesAccess": []})
    assert programs.check([first]) == {first["name"]: "stale"}
    assert programs.made([second]) == ["renewed the credential rotating"]
    assert decrypted(prepared, "rotating", tmp_path)["data"] == second["data"]
    assert programs.check([second]) == {second["name"]: "ready"}


def ia_interne(url, key="key-of-acme-for-n8n"):
    """The credential for IA Interne as a deploy gives it."""
    data = {"apiKey": key, "organizationId": "", "url": f"{url}/v1"}
    data |= {"allowedHttpRequestDomains": "domains", "allowedDomains": "127.0.0.1"}
    about = {"kind": "credential", "id": "otobotIaInterne", "name": "credential IA Interne", "title": "IA Interne"}
    return {**about, "type": "openAiApi", "data": data}


def asking(url):
    """A node that asks a model at `url`, with n8n's own word for the credential and nothing pasted."""
    parameters = {
        "method": "POST", "url": f"{url}/v1/chat/completions", "sendBody": True, "specifyBody": "json",
        "jsonBody": '{"model": "tiny:1b"}', "authentication": "predefinedCredentialType",
        "nodeCredentialType": "openAiApi", "options": {},
    }  # fmt: skip
    return {
        "name": "Ask", "type": "n8n-nodes-base.httpRequest", "typeVersion": 4.2, "parameters": parameters,
        "credentials": {"openAiApi": {"id": "otobotIaInterne", "name": "IA Interne"}},
    }  # fmt: skip


def test_a_workflow_asks_ia_interne_with_the_key_that_the_deploy_stored(prepared):
    """After a rotation with the new one, without a restart; revoked, the credential and the note of it are gone."""
    programs, n8n = prepared.programs, prepared.n8n
    with stubs.models() as models:
        url, keys = models.url, models.keys
        for key in ("first-key", "second-key"):
            item = ia_interne(url, key)
            programs.made([OWNER, item])
            assert programs.check([item]) == {item["name"]: "ready"}
            assert n8n.run(trigger(), asking(url)).status == "success"
            assert keys[-1] == f"Bearer {key}"
        gone = {"kind": "no credential", "id": "otobotIaInterne", "name": "credential IA Interne, revoked"}
        assert programs.check([gone]) == {gone["name"]: "stale"}
        assert programs.made([gone]) == ["removed the credential IA Interne, revoked"]
        assert programs.check([gone]) == {gone["name"]: "ready"}
        assert programs.made([gone]) == []
        assert n8n.run(trigger(), asking(url)).status == "error"
        assert len(keys) == 2
    for table in ("credentials_entity WHERE id", """shared_credentials WHERE "credentialsId\""""):
        assert prepared.database.execute(f"SELECT count(*) FROM {table} = 'otobotIaInterne'").fetchone() == (0,)
    assert programs.check([ia_interne(url)]) == {"credential IA Interne": "absent"}


def test_a_workflow_that_nobody_touched_follows_and_an_edited_one_stays(prepared):
    """Untouched: ours is stored. Edited in the editor: it stays as it is, and is told only once there is a newer one."""
    programs, n8n = prepared.programs, prepared.n8n
    old, new = workflow("followed", "one"), workflow("followed", "two")
    programs.made([old])
    assert programs.check([new]) == {new["name"]: "stale"}
    assert programs.made([new]) == ["updated the workflow followed"]
    saved = n8n.ask("GET", "/workflows/followed")
    assert saved["nodes"] == new["workflow"]["nodes"]
    saved["nodes"][1]["parameters"]["jsonOutput"] = '{"said": "by hand"}'
    saved = n8n.ask("PATCH", "/workflows/followed", {key: saved[key] for key in ("nodes", "connections", "versionId")})
    assert programs.check([new]) == {new["name"]: "ready"}
    newest = workflow("followed", "three")
    assert programs.check([newest]) == {newest["name"]: "kept"}
    assert programs.made([newest]) == []
    assert n8n.ask("GET", "/workflows/followed")["nodes"] == saved["nodes"]
    assert programs.check([newest]) == {newest["name"]: "kept"}


def test_somebody_elses_workflow_of_our_id_stays(prepared, quick):
    """It was there first: told and kept."""
    programs, mine, ours = quick, workflow("taken", "mine"), workflow("taken", "ours")
    programs.made([mine])
    prepared.database.execute("DELETE FROM otobot.provisioned WHERE item = 'workflow:taken'")
    assert programs.check([ours]) == {ours["name"]: "stale"}
    assert programs.made([ours]) == ["kept the workflow taken: n8n has another with its id"]
    assert programs.check([ours]) == {ours["name"]: "kept"}
    assert nodes(prepared, "taken") == mine["workflow"]["nodes"]


def test_an_active_workflow_is_updated_while_it_runs(prepared):
    """It stays active, and what it answers is the new text; with another password of the owner's it stays and is told."""
    programs, n8n = prepared.programs, prepared.n8n
    programs.made([OWNER, workflow("running", "one")])
    n8n.activate(n8n.ask("GET", "/workflows/running"))

    def answered():
        said = n8n.http.get("/webhook/running")
        return said.json()["said"] if said.status_code == 200 else None

    until(lambda: answered() == "one", "webhook", 120)
    new = workflow("running", "two")
    refused = programs.apply([{**OWNER, "password": "Other0123456789"}, new])
    assert refused.returncode == 1
    assert "does not let its owner in" in refused.stderr
    assert answered() == "one"
    assert programs.made([OWNER, new]) == ["updated the workflow running"]
    assert n8n.ask("GET", "/workflows/running")["active"] is True
    until(lambda: answered() == "two", "the new answer", 120)
    assert programs.check([new]) == {new["name"]: "ready"}


def test_workflows_come_out_and_go_in_with_their_credentials_by_name(prepared):
    """What n8n remembers of runs stays inside. An import takes the ids from here, names what is missing, and switches on."""
    programs, database = prepared.programs, prepared.database
    made = prepared.n8n.credential("httpHeaderAuth", {"name": "x-key", "value": "hidden-value"})["httpHeaderAuth"]
    travelling = workflow("travelling", "bonjour")["workflow"] | {"id": "travelling"}
    travelling["nodes"][1]["credentials"] = {"httpHeaderAuth": {"name": made["name"]}}
    lacking = workflow("lacking", "bonjour")["workflow"] | {"id": "lacking"}
    lacking["nodes"][1]["credentials"] = {"httpBasicAuth": {"name": "Of nobody"}}
    given = {"items": [OWNER], "workflows": [travelling, lacking], "active": {"travelling": True}}
    answers = map(json.loads, programs.run("workflows.js", "import", stdin=json.dumps(given)).stdout.splitlines())
    assert list(answers) == [
        {"id": "travelling", "why": "", "missing": []},
        {"id": "lacking", "why": "", "missing": ["Of nobody"]},
    ]
    (_, node) = nodes(prepared, "travelling")
    assert node["credentials"]["httpHeaderAuth"] == made
    until(lambda: prepared.n8n.http.get("/webhook/travelling").status_code == 200, "webhook", 120)
    sql = """UPDATE workflow_entity SET "staticData" = '{"last": "seen-token"}', "pinData" = '{"Webhook": []}' WHERE id = %s"""
    database.execute(sql, ["travelling"])
    said = programs.run("workflows.js", "export").stdout
    assert "hidden-value" not in said
    assert "seen-token" not in said
    found = {each["id"]: each for each in map(json.loads, said.splitlines())}["travelling"]
    assert set(found) == {"id", "name", "active", "nodes", "connections", "settings"}
    assert found["active"] is True
    assert found["nodes"][1]["parameters"] == travelling["nodes"][1]["parameters"]


def test_killed_before_any_change_the_next_run_ends_it(prepared, quick):
    """Each write and each start and end of a program, one after the other; nothing is then taken for an edit."""
    fault = Path(__file__).with_name("fault.js")
    ended, point = -9, 0
    while ended == -9:
        point += 1
        names = f"killed{point}c", f"killed{point}w"
        quick.made([credential("before", names[0]), workflow(names[1], "before")])
        items = [credential("after", names[0]), workflow(names[1], "after")]
        ended = quick.apply(items, NODE_OPTIONS=f"--require {fault}", OTOBOT_END_AT=str(point)).returncode
        newer = [items[0], workflow(names[1], "later still")]
        quick.made(newer)
        assert set(quick.check(newer).values()) == {"ready"}, point
        assert nodes(prepared, names[1]) == newer[1]["workflow"]["nodes"], point
    assert ended == 0
    assert point > 6  # the control: it was killed that often


def nodes(prepared, identity):
    """What n8n would run."""
    return prepared.database.execute("SELECT nodes FROM workflow_entity WHERE id = %s", [identity]).fetchone()[0]
