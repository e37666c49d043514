"""`otobotctl backup restore` through the real agent on a stand-in host, with real restic; databases: tests/agent."""

from __future__ import annotations

import json
import shutil

import pytest

from otobotctl.cli import main as cli
from otobotctl.errors import StepFailedError, UsageError
from otobotctl.workflows.backup import restore as workflow
from tests.backup.test_commands import say, write


@pytest.fixture
def archived(client, capsys, monkeypatch):
    """A deployed client with an archive of n8n's files alone, which have changed since."""
    if shutil.which("restic") is None:
        pytest.skip("restic is not installed")
    release = client.opt / "acme/releases/1/release.json"
    release.write_text(json.dumps({**json.loads(release.read_text()), "secret": ["env/mongo.env"]}))
    write(client, {"disk": str(client.home / "repository")})
    job = json.loads((client.jobs / "acme/job.json").read_text())
    job["sources"] = job["sources"][1:]
    (client.jobs / "acme/job.json").write_text(json.dumps(job))
    code, said = say(client, capsys, "run", "acme")
    assert code == 0, said
    client.ident = said["data"]["made"][0]["archive"]["id"]
    client.file = client.docker / "volumes/otobot-acme_n8n_data/file"
    client.file.write_text("changed")
    client.inside("python", """echo '{"stored": 2, "opened": 2, "failed": 0}'""")
    client.inside("node", "echo 3 workflows, 1 credentials that its key opens")
    # What services prepare of themselves runs in containers that this stand-in does not have.
    monkeypatch.setattr(workflow, "_prepared", lambda _loaded, done, *_: done)
    return client


def test_a_restore_is_one_envelope_and_what_it_did_is_on_the_host(archived, capsys):
    """The files are back, everything runs, the answer is the host's own word of it, and status has it too."""
    code, said = say(archived, capsys, "restore", "acme", "--yes")
    assert (code, said["ok"], said["version"], said["command"]) == (0, True, 1, "backup restore"), said
    data = said["data"]
    assert archived.file.read_text() == "of acme_n8n_data"
    assert (data["client"], data["archive"], data["target"], data["what"]) == (
        "acme",
        archived.ident,
        "disk",
        ["n8n_data"],
    )
    assert {each["service"] for each in data["proofs"]} == {"vault-api", "n8n"}
    assert data["took_s"] > 0
    assert data["lost_s"] > 0
    state = json.loads((archived.host.state / "backup/acme/state.json").read_text())
    assert state["restored"]["id"] == archived.ident
    assert state["restored"]["safety"] == data["safety"] != ""
    assert "n8n" in archived.running()
    # The safety archive is listed, and brings the changed file back.
    code, said = say(archived, capsys, "restore", "acme", "--at", data["safety"], "--yes")
    assert code == 0, said
    assert archived.file.read_text() == "changed"


def test_nobody_there_to_ask_changes_nothing(archived, capsys):
    """It replaces data, so the slug is asked for."""
    code, said = say(archived, capsys, "restore", "acme")
    assert (code, said["error"]["kind"]) == (2, "Usage")
    assert archived.file.read_text() == "changed"


def test_what_fails_is_told_with_what_to_do(archived, capsys):
    """No such archive is 1, former data back is 5; each says what is there and what to do next."""
    code, said = say(archived, capsys, "restore", "acme", "--yes", "--at", "20200101T000000Z-abcd")
    assert (code, said["error"]["kind"]) == (1, "StepFailed")
    assert archived.ident in said["error"]["message"]
    code, said = say(archived, capsys, "restore", "acme", "--yes", "--at", "2020-01-01")
    assert (code, said["error"]["kind"]) == (1, "StepFailed")
    assert "there is no archive that old" in said["error"]["message"]
    script = archived.host.root / "bin/docker"
    text = script.read_text()
    script.write_text(text.replace("\nup) ", '\nup) [ ! -e "$here/../broken" ] || { rm "$here/../broken"; exit 1; };'))
    (archived.docker.parent / "broken").touch()
    code, said = say(archived, capsys, "restore", "acme", "--yes")
    assert (code, said["error"]["kind"]) == (5, "TakenBack"), said
    assert "former data is back" in said["error"]["message"]
    assert "otobotctl backup list acme" in said["error"]["hint"]
    assert archived.file.read_text() == "changed"
    assert "n8n" in archived.running()


def test_a_client_without_a_backup_is_told_so(client, capsys):
    """There is nothing to restore from."""
    code, said = say(client, capsys, "restore", "acme", "--yes")
    assert (code, said["error"]["kind"]) == (1, "StepFailed"), said
    assert "has no backup on this host" in said["error"]["message"]


@pytest.mark.parametrize(
    "words",
    [
        ("--service", "n8n", "--database", "otobot_n8n"),
        ("--user", "anna", "--table", "public.users"),
        ("--replace",),
        ("--to", "vps-2", "--table", "public.users"),
        ("--at", "yesterday"),
        ("--service", "nginx"),
    ],
    ids=" ".join,
)
def test_what_contradicts_itself_is_refused(client, capsys, words):
    """Before any host is asked."""
    code, said = say(client, capsys, "restore", "acme", "--yes", *words)
    assert (code, said["error"]["kind"]) == (2, "Usage"), said
    assert client.host.executions == []


def test_a_time_without_a_zone_is_utc():
    """An id is an id, a time is Unix seconds."""
    assert workflow.point("20261121T020003Z-9f31") == ("20261121T020003Z-9f31", None)
    assert workflow.point("2026-11-21T14:00") == workflow.point("2026-11-21T15:00+01:00") == ("", 1795269600.0)
    assert workflow.point("") == ("", None)
    with pytest.raises(UsageError, match="neither an archive nor a time"):
        workflow.point("the day before")


def test_what_cannot_be_prepared_is_a_warning(client, monkeypatch):
    """The data is back; a service that does not take what is prepared for it does not undo that."""

    def refuses(*_):
        raise StepFailedError("n8n does not answer")

    monkeypatch.setattr(workflow, "converge", refuses)
    done = workflow._restored("acme", "here", {"id": "x"}, 2, "")
    told = workflow._prepared(workflow.load(client.fleet), done, None, None)
    assert "restored, but not prepared: n8n does not answer" in told.warnings[0]
    assert cli.main(["--fleet", str(client.fleet.root), "backup", "restore", "--help"]) == 0
