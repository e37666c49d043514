"""`otobotctl backup verify | drill | prune`: the real agent on a stand-in host, real restic, real signatures."""

from __future__ import annotations

import json
import os
import shutil
import socket
import subprocess
import time

import pytest

from otobotctl import secrets
from otobotctl.cli import main as cli
from otobotctl.transport import hostkeys
from otobotctl.workflows import secrets as workflow
from otobotctl.workflows.desired import load
from scripts.story import embedded
from tests.agent.backup import quick_restic
from tests.backup.test_commands import backup, say
from tests.waiting import until

__all__ = ["backup"]


def key_of_host(client, name="ssh_host_ed25519_key"):
    """A host key on the host; return its public half."""
    folder = client.host.root / "ssh"
    folder.mkdir(exist_ok=True)
    argv = ["ssh-keygen", "-q", "-t", "ed25519", "-N", "", "-f", str(folder / name)]
    subprocess.run(argv, check=True, stdin=subprocess.DEVNULL)
    kind, blob, *_ = (folder / f"{name}.pub").read_text().split()
    return hostkeys.HostKey(kind, blob)


def test_a_check_reads_the_next_part_and_status_knows_it(backup, capsys):
    """One part after the other; --full reads everything."""
    say(backup, capsys, "run", "acme")
    code, said = say(backup, capsys, "verify", "acme")
    (first,) = said["data"]["targets"]
    assert (code, first["error"], first["of"]) == (0, None, 52)
    code, said = say(backup, capsys, "verify", "acme")
    assert said["data"]["targets"][0]["part"] == first["part"] % 52 + 1
    code, said = say(backup, capsys, "verify", "acme", "--target", "disk", "--full")
    assert (code, said["data"]["targets"][0]["of"]) == (0, 1)
    code, said = say(backup, capsys, "status", "acme")
    assert said["data"]["clients"][0]["targets"][0]["verified"]["error"] is None
    code, said = say(backup, capsys, "verify", "acme", "--target", "moon")
    assert (code, said["ok"]) == (1, False)
    assert "has no target moon; it has disk" in said["error"]["message"]


def test_damage_is_told_with_its_archives_and_a_way_out(backup, capsys):
    """Exit code 1; the archive is named; status is overdue; the message says what to do."""
    say(backup, capsys, "run", "acme")
    code, said = say(backup, capsys, "list", "acme")
    (archive,) = said["data"]["archives"]
    largest = max((backup.home / "repository/data").glob("*/*"), key=lambda path: path.stat().st_size)
    largest.chmod(0o600)
    data = bytearray(largest.read_bytes())
    data[len(data) // 2] ^= 1
    largest.write_bytes(data)
    code, said = say(backup, capsys, "verify", "acme", "--full")
    assert (code, said["error"]["kind"]) == (1, "StepFailed")
    assert said["data"]["targets"][0]["damaged"] == [archive["id"]]
    assert any(archive["id"] in line for line in said["error"]["details"])
    assert "repair snapshots" in said["error"]["hint"]
    code, said = say(backup, capsys, "status", "acme")
    assert code == 4
    assert any("the last check failed" in line for line in said["error"]["details"])


def test_a_report_counts_only_by_a_pinned_key(backup, capsys, tmp_path):
    """A drill that cannot begin is signed too; under another pinned key its report is nobody's: exit code 12."""
    hostkeys.pin(backup.fleet.known_hosts, "here", key_of_host(backup))
    code, said = say(backup, capsys, "drill", "acme")
    assert (code, said["error"]["kind"]) == (1, "StepFailed")
    assert said["data"]["signed_by"].startswith("SHA256:")
    assert said["data"]["report"]["ok"] is False
    out = tmp_path / "report.json"
    code, said = say(backup, capsys, "drill", "acme", "--report", "--out", str(out))
    assert (code, said["ok"]) == (0, True)
    assert json.loads(out.read_text()) == said["data"]["report"]
    assert "BEGIN SSH SIGNATURE" in out.with_name("report.json.sig").read_text()
    hostkeys.pin(backup.fleet.known_hosts, "here", key_of_host(backup, "another"))
    code, said = say(backup, capsys, "drill", "acme", "--report")
    assert (code, said["error"]["kind"]) == (12, "HostKey")


def test_without_a_drill_there_is_no_report(backup, capsys):
    """And that is said."""
    code, said = say(backup, capsys, "drill", "acme", "--report")
    assert code == 1
    assert "no report" in said["error"]["message"]


@pytest.fixture
def filled(client, capsys):
    """A manifest with an append-only target that this machine may delete on, and its repository."""
    written = json.loads(client.fleet.manifest.read_text())
    place = client.home / "pruned"
    policy = {"keep_daily": 7, "keep_weekly": 0, "keep_monthly": 0, "keep_yearly": 0}
    written["clients"]["acme"]["backup"] = {
        "schedule": "daily",
        "targets": {"disk": {"repository": str(place), "append_only": True}},
        **policy,
    }
    client.fleet.manifest.write_text(json.dumps(written))
    workflow.mint(load(client.fleet), "acme")
    store = secrets.open_store(client.fleet.client("acme"), secrets.identities())
    key = store.values["BACKUP_KEY"].reveal()
    variables = {**os.environ, "RESTIC_REPOSITORY": str(place), "RESTIC_PASSWORD": key, "TZ": "UTC"}

    def restic(*words, data=b"x"):
        argv = ["restic", "--quiet", *words]
        return subprocess.run(argv, env=variables, input=data, capture_output=True, check=True).stdout

    def archive(days, *, head=True):
        at = time.gmtime(time.time() - days * 86400)
        name = time.strftime("%Y%m%dT%H%M%SZ", at) + "-abcd"
        for file in ("databases-a.dump", "archive.json")[: 1 + head]:
            stamp = time.strftime("%Y-%m-%d %H:%M:%S", at)
            restic("backup", "--stdin", "--stdin-filename=/" + file, "--tag=archive=" + name, "--time=" + stamp)
        return name

    quick_restic.init(place, key)
    client.restic, client.archive = restic, archive
    capsys.readouterr()
    return client


def left(client):
    """The tags that are there."""
    return {tag for each in json.loads(client.restic("snapshots", "--json")) for tag in each["tags"]}


def test_a_prune_shows_asks_and_removes_whole_archives(filled, capsys):
    """Nobody to ask: nothing goes. With --yes what is old goes, orphans with it, and the rest stays whole."""
    new, daily, old = (filled.archive(days) for days in (0.1, 3, 20))
    orphan = filled.archive(9, head=False)
    code, said = say(filled, capsys, "prune", "acme")
    assert (code, said["error"]["kind"]) == (2, "Usage")
    assert left(filled) == {f"archive={name}" for name in (new, daily, old, orphan)}
    code = cli.main(["--fleet", str(filled.fleet.root), "--json", "--yes", "backup", "prune", "acme"])
    captured = capsys.readouterr()
    said = json.loads(captured.out)
    assert code == 0, said
    assert f"{old}  goes" in captured.err
    assert (said["data"]["forgotten"], said["data"]["orphans"]) == ([old], [orphan])
    assert left(filled) == {f"archive={name}" for name in (new, daily)}
    assert len(json.loads(filled.restic("snapshots", "--json"))) == 4
    filled.restic("check")


def test_a_prune_refuses_what_looks_like_an_attack(filled, capsys):
    """An archive of the future: nothing goes, even with --yes."""
    for days in (-30, 1, 20):
        filled.archive(days)
    before = left(filled)
    code = cli.main(["--fleet", str(filled.fleet.root), "--json", "--yes", "backup", "prune", "acme"])
    said = json.loads(capsys.readouterr().out)
    assert code == 1
    assert "lies in the future" in said["error"]["details"][0]
    assert left(filled) == before


def test_an_append_only_storage_wants_credentials_of_ones_own(filled, capsys, monkeypatch):
    """Those that the host has cannot delete there; the hint names what to set."""
    for name in ("RESTIC_REST_USERNAME", "RESTIC_REST_PASSWORD"):
        monkeypatch.delenv(name, raising=False)
    code, said = say(filled, capsys, "prune", "acme", "--repository", "rest:http://127.0.0.1:1/acme")
    assert (code, said["error"]["kind"]) == (2, "Usage")
    assert "RESTIC_REST_PASSWORD" in said["error"]["hint"]


@pytest.fixture
def served(filled):
    """The same repository behind two REST servers: the host's, which deletes nothing, and the operators'."""
    if shutil.which("rclone") is None:
        pytest.skip("rclone is not installed")
    place, started, ports = filled.home / "pruned", [], []
    for words in (("--append-only", "--user=host", "--pass=host-pass"), ("--user=admin", "--pass=ad:min/p@ss")):
        ports.append(embedded.free_port())
        argv = ["rclone", "serve", "restic", f"--addr=127.0.0.1:{ports[-1]}", "--config=/dev/null", *words, str(place)]
        started.append(subprocess.Popen(argv, stdout=subprocess.DEVNULL, stderr=subprocess.DEVNULL))
    for port in ports:
        until(lambda at=port: socket.create_connection(("127.0.0.1", at), 5).close() is None, "rclone", but=(OSError,))
    yield [f"rest:http://host@127.0.0.1:{port}/" for port in ports]
    for process in started:
        process.terminate()
        process.wait(60)


def test_a_prune_needs_credentials_that_the_host_does_not_have(filled, served, capsys, monkeypatch):
    """By the host's own way nothing goes, and nothing is lost; by the operators' what is old goes."""
    new, old = filled.archive(1), filled.archive(20)
    command = ["--fleet", str(filled.fleet.root), "--json", "--yes", "backup", "prune", "acme", "--repository"]
    monkeypatch.setenv("RESTIC_REST_USERNAME", "host")
    monkeypatch.setenv("RESTIC_REST_PASSWORD", "host-pass")
    code = cli.main([*command, served[0]])
    said = json.loads(capsys.readouterr().out)
    assert (code, said["error"]["kind"]) == (1, "StepFailed")
    assert said["error"]["message"] == "restic forget is refused by disk"
    assert any("403" in line for line in said["error"]["details"])
    assert "host-pass" not in json.dumps(said)
    assert list((filled.home / "pruned/locks").iterdir()) == []
    assert left(filled) == {f"archive={name}" for name in (new, old)}
    monkeypatch.setenv("RESTIC_REST_USERNAME", "admin")
    monkeypatch.setenv("RESTIC_REST_PASSWORD", "ad:min/p@ss")
    assert cli.main([*command, served[1]]) == 0, capsys.readouterr()
    assert left(filled) == {f"archive={new}"}
    filled.restic("check")


def test_a_target_has_to_be_named_where_there_are_several(filled, capsys):
    """And one that is not there is told with those that are."""
    code, said = say(filled, capsys, "prune", "acme", "--target", "moon")
    assert (code, said["error"]["hint"]) == (2, "it has disk")


def test_every_command_has_an_example(capsys):
    """`--help` ends with one."""
    for word in ("verify", "drill", "prune"):
        assert cli.main(["backup", word, "--help"]) == 0
        assert f"otobotctl backup {word} acme" in capsys.readouterr().out


def test_a_drill_that_goes_on_after_a_failed_part_tells_all_of_it(backup, capsys):
    """Docker has no image of the database: what else there is was read all the same, and the report has both."""
    hostkeys.pin(backup.fleet.known_hosts, "here", key_of_host(backup))
    say(backup, capsys, "run", "acme")
    docker = backup.host.root / "bin/docker"
    without = '"network create" | "network rm") exit 0 ;;\n"run --rm") echo "Unable to find image" >&2; exit 125 ;;\n'
    docker.write_text(docker.read_text().replace('case "$1 $2" in\n', 'case "$1 $2" in\n' + without, 1))
    code, said = say(backup, capsys, "drill", "acme")
    assert (code, said["error"]["kind"]) == (1, "StepFailed")
    assert "Unable to find image" in said["error"]["message"]
    assert "otobotctl backup drill acme --report" in said["error"]["hint"]
    well = {each["name"] for each in said["data"]["report"]["checks"] if each["ok"]}
    assert well >= {"/configuration.tar", "/volumes/n8n_data.tar"}
