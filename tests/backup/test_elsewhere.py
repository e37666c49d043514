"""`otobotctl backup drill --on`: another host, or this machine, proves an archive with what the fleet alone knows."""

from __future__ import annotations

import json
import os
import stat
import subprocess
import time
from pathlib import Path

import pytest

from otobotctl import secrets
from otobotctl.agent.backup import elsewhere as guest
from otobotctl.agent.memory import in_memory
from otobotctl.agent.wire import RefusedError
from otobotctl.backup import standing
from otobotctl.cli import main as cli
from otobotctl.cli.human import backups, proofs
from otobotctl.secrets import Secret
from otobotctl.secrets.mint import mint
from otobotctl.transport import hostkeys
from otobotctl.workflows import converging
from otobotctl.workflows import secrets as workflow
from otobotctl.workflows.backup import elsewhere, proving
from otobotctl.workflows.backup.status import BackupStatus
from otobotctl.workflows.desired import load
from tests.backup.test_commands import backup, say, write
from tests.backup.test_proofs import key_of_host
from tests.converge.local_door import LocalHost

__all__ = ["backup"]

# Stands in for what a drill asks of docker: the vault's program opens what it is asked to.
DOCKER = """#!/bin/sh
echo "$*" >>"@HERE@/spare-calls"
case "$*" in
"image inspect"*) echo '[{"Id": "sha256:1"}]' ;;
info*) echo / ;;
*"vault_api prove") cat "$(echo "$*" | sed 's/.*--env-file \\([^ ]*\\).*/\\1/')" >"@HERE@/given"
    echo '{"stored": 3, "opened": 3, "failed": 0}' ;;
esac
"""


@pytest.fixture
def promised(client):
    """A client whose archives go to a disk of its host; `spare` is another host."""
    written = json.loads(client.fleet.manifest.read_text())
    written["hosts"]["spare"] = {"address": "203.0.113.2"}
    place = str(client.home / "repository")
    written["clients"]["acme"]["backup"] = {"schedule": "daily", "targets": {"disk": {"repository": place}}}
    client.fleet.manifest.write_text(json.dumps(written))
    workflow.mint(load(client.fleet), "acme")
    client.place = place
    return client


@pytest.fixture
def archived(promised, backup, capsys, monkeypatch):
    """A client with an archive of its files on a disk that the host `spare` reaches too."""
    client, place = promised, promised.place
    write(client, {"disk": place})
    job = json.loads((client.jobs / "acme/job.json").read_text())
    job = {**job, "sources": [each for each in job["sources"] if each["kind"] == "volume"], "engines": []}
    (client.jobs / "acme/job.json").write_text(json.dumps(job))
    store = secrets.open_store(client.fleet.client("acme"), secrets.identities())
    client.values = {name: each.reveal() for name, each in store.values.items()}
    (client.jobs / "acme/key").write_text(client.values["BACKUP_KEY"])
    code, said = say(client, capsys, "run", "acme")
    assert code == 0, said
    client.spare = LocalHost(client.docker.parent / "spare")
    openers = {"here": client.host.open, "spare": client.spare.open}
    monkeypatch.setattr(converging, "opener", lambda _loaded, name: openers[name])
    client.host.add_program("docker", DOCKER.replace("@HERE@", str(client.docker)))
    hostkeys.pin(client.fleet.known_hosts, "spare", key_of_host(client))
    return client


def test_another_host_proves_an_archive_and_the_clients_own_knows_of_it(archived, capsys):
    """The drilling host signs; status, `--report` and the doctor's facts have it; nothing stays, no secret travelled."""
    code, said = say(archived, capsys, "drill", "acme", "--on", "spare", "--repository", archived.place)
    assert code == 0, said
    assert (said["data"]["host"], said["data"]["report"]["on"], said["data"]["report"]["ok"]) == (
        "spare",
        "spare",
        True,
    )
    assert said["data"]["signed_by"].startswith("SHA256:")
    code, told = say(archived, capsys, "status", "acme")
    (client,) = told["data"]["clients"]
    assert (client["drill"]["ok"], client["drill"]["on"]) == (True, "spare")
    assert client["drill"]["archive"] == said["data"]["report"]["archive"]
    code, shown = say(archived, capsys, "drill", "acme", "--report")
    assert (code, shown["data"]["host"], shown["data"]["report"]) == (0, "spare", said["data"]["report"])
    assert list((archived.spare.state / "backup").iterdir()) == []
    given = (archived.docker / "given").read_text()
    assert archived.values["ENCRYPTION_MASTER_KEY"] in given
    others = [name for name in archived.values if name not in ("ENCRYPTION_MASTER_KEY", "BACKUP_KEY")]
    sent = b"".join(archived.spare.sent).decode("utf-8", "replace")
    assert [name for name in others if archived.values[name] and archived.values[name] in sent] == []
    argvs = str(archived.spare.executions) + (archived.docker / "spare-calls").read_text()
    for name in ("ENCRYPTION_MASTER_KEY", "BACKUP_KEY"):
        assert archived.values[name] not in argvs
        assert archived.values[name] not in json.dumps(said)
    without_its_client_and_without_its_key(archived, capsys, client["drill"])


def without_its_client_and_without_its_key(archived, capsys, before):
    """The client's host cannot be told: exit code 3. The drilling host's key was replaced: 12, and nobody is told."""
    words = ("drill", "acme", "--on", "spare", "--repository", archived.place)
    archived.host.gone = True
    code, said = say(archived, capsys, *words)
    assert (code, said["error"]["kind"], said["data"]["report"]["ok"]) == (3, "Partial", True)
    archived.host.gone = False
    hostkeys.pin(archived.fleet.known_hosts, "spare", hostkeys.HostKey("ssh-ed25519", "AAAA"))
    code, said = say(archived, capsys, *words)
    assert (code, said["error"]["kind"]) == (12, "HostKey")
    code, told = say(archived, capsys, "status", "acme")
    assert told["data"]["clients"][0]["drill"] == before


def test_the_operators_own_machine_signs_by_a_key_of_its_own(archived, capsys, monkeypatch):
    """It is made once, kept private, and pinned in the fleet; without root, nothing is left but an empty folder."""
    state = archived.home / "own-state"
    monkeypatch.setenv("XDG_STATE_HOME", str(state))
    words = ("drill", "acme", "--on", "local", "--repository", archived.place)
    code, said = say(archived, capsys, *words)
    assert code == 0, said
    assert said["data"]["host"].startswith("local-")
    key = archived.home / ".config/otobotctl/drill_ed25519"
    assert stat.S_IMODE(key.stat().st_mode) == 0o600
    assert said["data"]["host"] in hostkeys.pinned_names(archived.fleet.known_hosts)
    assert list((state / "otobotctl/backup").iterdir()) == []
    fingerprint = said["data"]["signed_by"]
    code, said = say(archived, capsys, *words)
    assert (code, said["data"]["signed_by"]) == (0, fingerprint)
    code, said = say(archived, capsys, "drill", "acme", "--report")
    assert (code, said["data"]["signed_by"]) == (0, fingerprint)


def test_what_a_disaster_would_take_along_is_refused(promised, capsys):
    """A directory of the client's own host: exit code 2, and what to do."""
    code, said = say(promised, capsys, "drill", "acme", "--on", "spare")
    assert (code, said["error"]["kind"]) == (2, "Usage")
    assert "--repository" in said["error"]["hint"]
    for words in (("--repository", "/x"), ("--on", "spare", "--report")):
        code, said = say(promised, capsys, "drill", "acme", *words)
        assert (code, said["error"]["kind"]) == (2, "Usage")


def test_sftp_gets_its_key_and_credentials_of_another_way_are_ones_own(promised, monkeypatch):
    """What is brought: files by name for SFTP; the environment's login where another way is named, sealed ones else."""
    written = json.loads(promised.fleet.manifest.read_text())
    key = key_of_host(promised)
    targets = {"nas": {"repository": "sftp:backup@nas.example:/srv/acme", "host_key": f"{key.type} {key.blob}"}}
    targets["box"] = {"repository": "rest:https://anna@box.example/acme"}
    written["clients"]["acme"]["backup"]["targets"] |= targets
    promised.fleet.manifest.write_text(json.dumps(written))
    loaded = load(promised.fleet)
    specs = loaded.catalog.specs_of(loaded.manifest.client("acme"))
    values = {spec.name: Secret(spec.name, mint("password" if spec.given else spec.kind)) for spec in specs}
    monkeypatch.setattr(workflow, "opened", lambda *_: values)
    brought = elsewhere._brought(loaded, "acme", "nas", "")
    assert set(brought["files"]) == {"id_ed25519", "known_hosts"}
    (target,) = brought["job"]["targets"]
    assert "/etc/otobot/backup/acme/id_ed25519" in target["options"][0]
    for name in ("RESTIC_REST_USERNAME", "RESTIC_REST_PASSWORD"):
        monkeypatch.delenv(name, raising=False)
    monkeypatch.setenv("RESTIC_REST_PASSWORD", "own-password")
    (target,) = elsewhere._brought(loaded, "acme", "box", "rest:https://me@box.example/acme")["job"]["targets"]
    assert target["repository"] == "rest:https://box.example/acme"
    assert target["environment"]["RESTIC_REST_PASSWORD"] == "own-password"
    (target,) = elsewhere._brought(loaded, "acme", "disk", "s3:https://s3.example/acme")["job"]["targets"]
    assert set(target["environment"]) == {"RESTIC_PASSWORD"}
    assert os.environ["RESTIC_REST_PASSWORD"] not in str(target)


def test_a_machine_without_restic_is_told_before_anything_is_done(monkeypatch):
    """What is missing is named."""
    monkeypatch.setattr(guest, "has", lambda program: program != "restic")
    with pytest.raises(RefusedError) as caught:
        guest.serve({"word": "elsewhere", "asked": {}, "who": "a test"}, None, None)
    assert (caught.value.code, str(caught.value)) == ("lacks", "restic is missing here, and a drill needs it")


def test_a_key_in_memory_is_one_that_ssh_takes(tmp_path):
    """Its path is no file of a disk, only this user may read it, and it ends with the drill; options name it."""
    subprocess.run(
        ["ssh-keygen", "-q", "-t", "ed25519", "-N", "", "-f", str(tmp_path / "key")],
        check=True,
        stdin=subprocess.DEVNULL,
    )
    target = {"name": "nas", "repository": "sftp:a@b:/c", "environment": {}, "append_only": False}
    target["options"] = ["sftp.command=ssh -o IdentityFile=/etc/otobot/backup/acme/id_ed25519 b"]
    with in_memory({"id_ed25519": (tmp_path / "key").read_text()}) as paths:
        argv = ["ssh-keygen", "-y", "-f", paths["id_ed25519"]]
        said = subprocess.run(argv, capture_output=True, text=True, check=True)
        (option,) = guest._moved(target, "acme", paths)["options"]
    assert said.stdout.split()[:2] == (tmp_path / "key.pub").read_text().split()[:2]
    assert option == f"sftp.command=ssh -o IdentityFile={paths['id_ed25519']} b"
    assert not any(
        "memfd:id_ed25519" in str(each.readlink()) for each in Path("/proc/self/fd").iterdir() if each.is_symlink()
    )


def test_people_read_where_it_was_drilled_and_what_was_fetched():
    """In the answer and in the table of status."""
    report = {"at": 0.0, "checks": [], "ok": True, "fetched": [{"image": "postgres:16", "took_s": 12.0}]}
    told = proofs.drilled(proving.Drilled("acme", "spare", "SHA256:x", report, {}))
    assert "postgres:16 was fetched first (12 s)" in told
    assert "signed by spare (SHA256:x)" in told
    drill = {"at": time.time(), "ok": True, "took_s": 60.0, "on": "spare"}
    client = standing.ClientStanding("acme", "here", (), drill, 1800.0, None, ())
    assert backups._drill(client).endswith("1.0 of 30 min on spare")


def test_what_was_promised_stands_beside_what_a_drill_measured():
    """How long a restore takes, how much work could be lost; with PostgreSQL's log the seconds of that."""
    drill = {"at": time.time(), "ok": True, "took_s": 90.0, "rpo_s": 5400.0}
    place = standing.TargetStanding("acme", "here", "nas", False, None, None, 14400.0, None, "", None, None, ())
    client = standing.ClientStanding("acme", "here", (place,), drill, 1800.0, None, ())
    told = "acme: as drilled, a restore takes 1.5 min (promised 30), and at the worst moment of a week 1.5 h of work"
    assert f"{told} were in no archive (promised 4)" in backups.standing(BackupStatus((client,)))
    log = {"until": 0.0, "rpo_s": 12.0, "took_s": 30.0}
    client = standing.ClientStanding("acme", "here", (place,), {**drill, "log": log}, 1800.0, None, ())
    assert backups.standing(BackupStatus((client,))).endswith("log 12 s (promised 60), replayed in 0.5 min")


def test_help_has_an_example(capsys):
    """`--help` names it."""
    assert cli.main(["backup", "drill", "--help"]) == 0
    assert "--on spare-1" in capsys.readouterr().out
