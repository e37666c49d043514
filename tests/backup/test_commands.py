"""`otobotctl backup run | list | status` through the real agent on a stand-in host, with real restic."""

from __future__ import annotations

import json
import os
import shutil
import subprocess
import time

import pytest

from otobotctl.cli import main as cli
from otobotctl.render.client import render_client
from otobotctl.workflows import secrets
from otobotctl.workflows.deploying import archive
from otobotctl.workflows.desired import load
from tests.agent.backup.hosts import PSQL
from tests.waiting import until


@pytest.fixture
def backup(client):
    """A deployed client whose host has a job with one target."""
    if shutil.which("restic") is None:
        pytest.skip("restic is not installed")
    client.inside("psql", PSQL)
    release = client.opt / "acme/releases/1/release.json"
    release.write_text(json.dumps({**json.loads(release.read_text()), "secret": ["env/mongo.env"]}))
    write(client, {"disk": str(client.home / "repository")})
    return client


def write(client, targets):
    """The job, as the host gets it."""
    source = {"kind": "postgres", "name": "otobot_n8n", "service": "postgres", "of": "n8n", "exclude": []}
    volume = {"kind": "volume", "name": "n8n_data", "service": "", "of": "n8n", "exclude": []}
    known = {"environment": {}, "options": [], "append_only": False}
    job = {
        "version": 1, "client": "acme", "project": "otobot-acme", "sources": [source, volume],
        "engines": ["postgres", "mongo"],
        "targets": [{"name": name, "repository": place, **known} for name, place in targets.items()],
        "keep": {"daily": 30, "weekly": 12, "monthly": 12, "yearly": 7}, "rpo_s": 14400, "rto_s": 1800,
        "drill_days": 31, "webhook": "", "mail": "", "pitr": False, "pitr_days": 7,
    }  # fmt: skip
    folder = client.jobs / "acme"
    folder.mkdir(parents=True, exist_ok=True)
    (folder / "job.json").write_text(json.dumps(job))
    (folder / "key").write_text("password-of-the-repository")


def say(client, capsys, *words):
    """Call the command line with --json; return the exit code and the envelope."""
    capsys.readouterr()
    code = cli.main(["--fleet", str(client.fleet.root), "--json", "backup", *words])
    return code, json.loads(capsys.readouterr().out)


def test_a_run_is_listed_and_stands(backup, capsys):
    """One archive: the run names it, the list has it, the status tells its age, and `status` shows it too."""
    code, said = say(backup, capsys, "run", "acme")
    assert (code, said["ok"], said["version"], said["command"]) == (0, True, 1, "backup run")
    (made,) = said["data"]["made"]
    assert made["error"] is None
    code, said = say(backup, capsys, "list", "acme")
    (only,) = said["data"]["archives"]
    assert (code, only["id"], only["bytes"]) == (0, made["archive"]["id"], made["archive"]["bytes"])
    assert (only["target"], only["reason"], only["release"], only["consistent"]) == ("disk", "manual", 1, False)
    code, said = say(backup, capsys, "status", "acme")
    (client,) = said["data"]["clients"]
    (target,) = client["targets"]
    assert code == 0
    assert target["archive"]["id"] == only["id"]
    assert 0 <= target["age_s"] < 3600
    assert (client["overdue"], target["overdue"]) == ([], [])


def test_writers_rest_until_the_files_are_read(backup, capsys):
    """With --consistent everything but the databases is stopped and started again, and the archive says so."""
    before = backup.running()
    code, said = say(backup, capsys, "run", "acme", "--consistent")
    assert code == 0
    assert said["data"]["made"][0]["archive"]["consistent"] is True
    assert backup.running() == before
    (stopped,) = backup.calls("stop --time")
    assert "id-n8n" in stopped
    assert "id-postgres" not in stopped


def test_a_failure_names_what_to_do(backup, capsys):
    """Exit code 1 for the only target, 3 for one of two; status then ends with 4 and says which run failed."""
    backup.inside("pg_dump", "echo 'server closed the connection' >&2; exit 1")
    code, said = say(backup, capsys, "run", "acme")
    assert (code, said["error"]["kind"]) == (1, "StepFailed")
    assert "server closed the connection" in said["error"]["message"]
    assert "otobotctl backup run acme" in said["error"]["hint"]
    backup.inside("pg_dump", "echo rows")
    write(backup, {"disk": str(backup.home / "repository"), "gone": "/dev/null/nowhere"})
    code, said = say(backup, capsys, "run", "acme")
    assert (code, [bool(each["error"]) for each in said["data"]["made"]]) == (3, [False, True])
    code, said = say(backup, capsys, "status")
    assert code == 4
    assert any(line.startswith("acme on gone: the last run failed") for line in said["error"]["details"])
    code, said = say(backup, capsys, "list", "acme")
    assert (code, len(said["data"]["archives"])) == (3, 1)


def test_an_archive_that_is_too_old_is_overdue(backup, capsys):
    """By the promise of the job, with a quarter's grace."""
    say(backup, capsys, "run", "acme")
    path = backup.host.state / "backup/acme/state.json"
    state = json.loads(path.read_text())
    state["targets"]["disk"]["archive"]["made"] = time.time() - 6 * 3600
    path.write_text(json.dumps(state))
    code, said = say(backup, capsys, "status", "--all")
    assert (code, said["error"]["kind"]) == (4, "Drift")
    assert "6.0 h old" in said["error"]["details"][0]
    assert cli.main(["--fleet", str(backup.fleet.root), "backup", "status"]) == 4
    assert "6 h, late" in capsys.readouterr().out


def test_another_run_is_told_of(backup, capsys):
    """Exit code 11, and who it is."""
    backup.inside("pg_dump", "touch @HERE@/begun; while [ ! -e @HERE@/go ]; do sleep 0.05; done; echo rows")
    script = "import subprocess, sys; sys.exit(cli.main(['--fleet', str(here.fleet.root), 'backup', 'run', 'acme']))"
    import threading

    done = []
    thread = threading.Thread(target=lambda: done.append(backup.start(script)))
    thread.start()
    until((backup.docker / "begun").exists, "the other run")
    code, said = say(backup, capsys, "run", "acme")
    (backup.docker / "go").touch()
    thread.join(120)
    assert (code, said["error"]["kind"]) == (11, "Locked")
    assert done[0].returncode == 0, done[0].stderr


def test_a_run_goes_on_when_the_line_is_lost(backup, capsys):
    """Exit code 13; the host finishes what it had begun."""
    backup.host.cut_after = lambda line: b'"part"' in line
    code, said = say(backup, capsys, "run", "acme")
    assert (code, said["data"]["made"]) == (13, [])

    def state():
        return json.loads((backup.host.state / "backup/acme/state.json").read_text())["targets"]["disk"]

    until(lambda: state()["attempt"]["error"] is None, "the end of the run on the host")
    assert state()["archive"]["reason"] == "manual"


def test_all_is_every_client_with_a_target(backup, capsys):
    """None is told; a client that a host knows nothing of costs the others nothing."""
    code, said = say(backup, capsys, "run", "--all")
    assert (code, said["error"]["message"]) == (2, "no client has a backup target yet")
    manifest = json.loads(backup.fleet.manifest.read_text())
    acme = manifest["clients"]["acme"]
    place = {"backup": {"targets": {"disk": {"repository": "/srv/archives/{client}"}}}}
    about = {"company": "Beta", "email": "it@beta.example", "host": "here", "domain": "beta.example", "index": 1}
    beta = {**about, "services": acme["services"], **place}
    manifest["clients"] = {"beta": beta, "acme": {**acme, **place}}
    backup.fleet.manifest.write_text(json.dumps(manifest))
    code, said = say(backup, capsys, "run", "--all")
    assert code == 3, said["error"]["details"]
    assert {each["client"]: bool(each["error"]) for each in said["data"]["made"]} == {"beta": True, "acme": False}
    assert "beta has no backup on this host" in said["error"]["details"][0]


def test_a_client_without_a_target_is_no_failure_of_status(client, capsys):
    """It is told, and there is nothing to run."""
    code, said = say(client, capsys, "status")
    assert (code, said["data"]["clients"][0]["targets"]) == (0, [])
    code, said = say(client, capsys, "run", "acme")
    assert (code, said["error"]["kind"]) == (1, "StepFailed")
    assert "has no backup on this host" in said["error"]["message"]


def test_no_secret_of_a_client_is_in_what_the_repositorys_key_opens(backup, capsys):
    """With a release as it is rendered, and every snapshot read whole; the sealed ones are there, for age's keys."""
    loaded = load(backup.fleet)
    acme = loaded.manifest.client("acme")
    store = secrets.opened(loaded, "acme")
    host = loaded.manifest.host("here")
    release = render_client(acme, host, acme.index, store, loaded.catalog)
    place = backup.opt / "acme/releases/1"
    for file in release.files:
        (place / file.path).parent.mkdir(parents=True, exist_ok=True)
        (place / file.path).write_bytes(file.content)
        (place / file.path).chmod(0o644)  # what is secret is told by the record, whatever its mode
    known = json.loads((place / "release.json").read_text())
    known["secret"] = [file.path for file in release.files if file.secret]
    (place / "release.json").write_text(json.dumps(known))
    sealed = (backup.fleet.client("acme") / "secrets.age").read_bytes()
    (backup.jobs / "acme/secrets.age").write_bytes(sealed)
    assert say(backup, capsys, "run", "acme")[0] == 0
    environment = {**os.environ, "RESTIC_PASSWORD_FILE": str(backup.jobs / "acme/key")}
    restic = ["restic", "--no-cache", "--repo", str(backup.home / "repository")]

    def said(*words):
        return subprocess.run([*restic, *words], env=environment, check=True, capture_output=True, timeout=120).stdout

    everything = b"".join(
        said("dump", each["id"], each["paths"][0]) for each in json.loads(said("snapshots", "--json"))
    )
    assert b"services:" in everything
    assert sealed in everything
    values = {name: secret.reveal() for name, secret in store.items()}
    assert len(values) > 10
    assert [name for name, value in values.items() if value.encode() in everything] == []
    rendered = b"".join(file.content for file in release.files)
    assert [name for name, value in values.items() if value.encode() in rendered]  # what was looked for can be found


class Ears:
    """Keeps what a workflow tells."""

    def __init__(self):
        self.heard = []

    def event(self, record):
        """Keep it."""
        self.heard.append(record)


def test_the_archive_before_a_deploy_is_made_on_the_targets(backup):
    """A dead target is told of and keeps no deploy; where none takes it, the archive comes into the fleet."""
    manifest = json.loads(backup.fleet.manifest.read_text())
    disk = str(backup.home / "repository")
    manifest["clients"]["acme"]["backup"] = {"targets": {"disk": {"repository": disk}, "dead": {"repository": "/no"}}}
    backup.fleet.manifest.write_text(json.dumps(manifest))
    ears = Ears()
    write(backup, {"disk": disk, "dead": "/dev/null/nowhere"})
    made = archive.before_deploy(backup.fleet, "acme", ears)
    assert made.endswith(" on disk")
    warnings = [each["text"] for each in ears.heard if each["event"] == "output"]
    assert len(warnings) == 1
    assert warnings[0].startswith("warning: acme on dead: ")
    state = json.loads((backup.host.state / "backup/acme/state.json").read_text())
    assert state["targets"]["disk"]["archive"]["reason"] == "deploy"
    write(backup, {"dead": "/dev/null/nowhere"})
    assert archive.before_deploy(backup.fleet, "acme", ears, what="rotation").endswith(".zip.age")
    shutil.rmtree(backup.jobs)
    assert archive.before_deploy(backup.fleet, "acme", ears).endswith(".zip.age")
    assert any("has no backup on this host" in each.get("text", "") for each in ears.heard)
