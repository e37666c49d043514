"""A client's host is lost, and everything comes back on a blank one: proved by a program that knows nothing of otobotctl.

One story: a client full of data, archives while it is written to, the faults of archives, the disaster, the proof.
"""

from __future__ import annotations

import hashlib
import json
import shutil
import subprocess
import sys
import time
from collections.abc import Iterator
from dataclasses import dataclass
from datetime import UTC, datetime
from typing import Any
from uuid import uuid5

import pytest

from tests.e2e import backup_proof
from tests.e2e.filled import NAMESPACE, SERVICES, Filler, psql, psql_argv
from tests.e2e.operator import Operator
from tests.e2e.storage import PASSWORD, USER, Storage
from tests.lab.host import Host
from tests.lab.lab import Lab
from tests.lab.shell import until

pytestmark = pytest.mark.timeout(1500)  # of the first test and of the disaster: each deploys a client

CONNECTIONS = 100_000
WORKFLOWS = 500
DOMAIN = "acme.example"
VOLUME = "/var/lib/docker/volumes/otobot-acme_n8n_data/_data"
FILES = {"binaryData/report.bin": b"\0\xff" * 700_000, "binaryData/é.txt": b"bonjour\n"}
TARGETS = ("away", "nas")
UNIT = "otobot-backup-acme.service"


@dataclass
class Story:
    """What the chapters hand on. `archives` are the ids of the newest archives, by target."""

    lab: Lab
    operator: Operator
    host: Host
    storage: Storage
    filler: Filler
    workflows: dict[str, str]

    def run(self, *words: str, code: int = 0) -> Any:
        """Make an archive on each target; the answer's data, once the command has ended with `code`."""
        self.idle()
        done = self.operator.run("backup", "run", "acme", *words, "--json", check=False)
        assert done.returncode == code, f"{done.returncode}\n{done.stdout}\n{done.stderr}"
        return json.loads(done.stdout)["data"]["made"]

    def idle(self) -> None:
        """Wait for a run that an apply has started, as it does for a new release."""
        state = f"systemctl show --property=ActiveState --value {UNIT}"
        until(lambda: self.host.ssh(state, user="root").stdout.strip() in {"inactive", "failed"}, UNIT, 300, 0.5)

    def covered(self, moment: float) -> float:
        """Wait until each target has a base and all that was committed before a moment; return how long that took."""

        def there() -> bool:
            told = json.loads(self.operator.run("backup", "status", "acme", "--json", check=False).stdout)
            logs = [each["log"] for client in told["data"]["clients"] for each in client["targets"]]
            now = time.time()
            if not all(log["base"] for log in logs):  # the timer looks every five minutes
                base = UNIT.replace(".service", "-base.service")
                self.host.ssh(f"systemctl start {base}", user="root", check=False)  # systemd refuses a sixth in 10 s
            return all(log["base"] and log["lag_s"] is not None and now - log["lag_s"] > moment for log in logs)

        until(there, "the log on each target", 420, 1.0)
        return time.time() - moment

    def archives(self) -> dict[str, list[str]]:
        """The ids of the archives that each target lists, sorted by time."""
        found: dict[str, list[str]] = {name: [] for name in TARGETS}
        for row in self.operator.data("backup", "list", "acme")["archives"]:
            found[row["target"]].append(row["id"])
        return {name: sorted(ids) for name, ids in found.items()}


@pytest.fixture(scope="module")
def story(lab: Lab, tmp_path_factory) -> Iterator[Story]:
    """A client with the vault and n8n, 100,000 connections, 500 workflows and some files; two storages elsewhere."""
    folder = tmp_path_factory.mktemp("backup")
    storage = Storage(lab.slot, folder / "storage")
    storage.start_rest()
    storage.start_sftp()
    host = lab.make("warm")
    operator = Operator(folder)
    try:
        operator.init()
        operator.add_host("vps-1", host)
        operator.create("acme", "vps-1", DOMAIN, "postgres", "vault-api", "n8n")
        filler = Filler(host, "acme", operator.secrets("acme")["ENCRYPTION_MASTER_KEY"], folder / "record.jsonl")
        filler.fill(CONNECTIONS)
        workflows = filler.workflows(WORKFLOWS)
        for name, content in FILES.items():
            host.ssh(f"cat > '{VOLUME}/{name}'", input=content, user="root")
        schedule(operator, storage)
        yield Story(lab, operator, host, storage, filler, workflows)
    finally:
        storage.stop()
        for each in tuple(lab.hosts):
            lab.destroy(each)


def schedule(operator: Operator, storage: Storage) -> None:
    """Name the storages in the manifest, give their credentials, and bring that to the host."""
    path = operator.fleet / "clients-config.json"
    manifest = json.loads(path.read_text())
    targets = {
        "away": {"repository": storage.rest_repository.replace("http://", f"http://{USER}@"), "append_only": True},
        "nas": {"repository": storage.sftp_repository, "host_key": storage.host_key()},
    }
    manifest["clients"]["acme"]["backup"] = {"targets": targets, "schedule": "4-hourly", "pitr": True}
    path.write_text(json.dumps(manifest, indent=2) + "\n")
    operator.run("secrets", "set", "acme", "BACKUP_AWAY_PASSWORD", stdin=PASSWORD + "\n")
    operator.run("deploy", "acme", "--no-backup")  # PostgreSQL learns that its log is received
    operator.run("host", "apply", "vps-1")
    storage.allow(operator.data("backup", "schedule", "acme")["public_key"])


def prove(story: Story, operator: Operator, host: Host, before: float, erased: list[str]) -> dict[str, Any]:
    """What the independent program says of a host, asked with nothing of this process but the question."""
    secrets = operator.secrets("acme")
    question = {
        "record": str(story.filler.record),
        "psql": psql_argv(host),
        "flows_psql": psql_argv(host, database="otobot_n8n"),
        "flows": story.workflows,
        "shell": host.ssh_argv(user="root"),
        "before": before,
        "erased": erased,
        "key": secrets["ENCRYPTION_MASTER_KEY"],
        "token": secrets["N8N_NODE_TOKEN"],
        "client": "acme",
        "sample": 40,
        "files": {f"{VOLUME}/{name}": hashlib.sha256(data).hexdigest() for name, data in FILES.items()},
    }
    words = [sys.executable, "-I", backup_proof.__file__]
    done = subprocess.run(words, input=json.dumps(question), capture_output=True, text=True, timeout=600, check=False)
    assert done.stdout, done.stderr
    found: dict[str, Any] = json.loads(done.stdout)
    return found


def kept(before: dict[str, list[str]], after: dict[str, list[str]]) -> bool:
    """Whether each target still has every archive that it had."""
    return all(set(before[name]) <= set(after[name]) for name in TARGETS)


def test_an_archive_on_each_target_while_the_client_is_written_to(story):
    """The host makes them, by two roads; each lists them, and nobody was kept from writing."""
    with story.filler.write("during") as writing:
        made = story.run()
        assert writing.count > 0
    assert [(each["target"], each["error"]) for each in made] == [(name, None) for name in TARGETS]
    assert story.archives() == {each["target"]: [each["archive"]["id"]] for each in made}


def test_a_drill_replays_the_log_to_what_no_archive_has(story):
    """On the host, with its own images: rows of after the archive are counted, and nothing of the drill is left."""
    text = "DROP TABLE IF EXISTS fresh; CREATE TABLE fresh AS SELECT generate_series(1, 10000) AS i"
    psql(story.host, text, "otobot_n8n")
    moment = time.time()
    story.covered(moment + 10)  # what status says is some moments old when it is here
    log = story.operator.data("backup", "drill", "acme", "--target", "nas")["report"]["log"]
    assert log["until"] > moment
    assert log["databases"]["otobot_n8n"]["rows"] > 10_000
    assert log["databases"]["otobot_frontend"]["rows"] > CONNECTIONS
    assert story.host.ssh("docker ps --all --quiet --filter label=otobot.drill", user="root").stdout == ""
    told = story.operator.run("backup", "status", "acme", check=False).stdout
    assert "; with PostgreSQL's log " in told


def test_the_moment_before_a_table_was_dropped(story):
    """On the same host, to the commit: the rows of that moment are back, and what was written after it is not."""
    psql(story.host, "CREATE TABLE precious (i int); INSERT INTO precious VALUES (1), (2)", "postgres")
    story.covered(time.time())
    psql(story.host, "INSERT INTO precious VALUES (3)", "postgres")
    moment = float(psql(story.host, "SELECT extract(epoch FROM clock_timestamp())", "postgres"))
    psql(story.host, "SELECT pg_sleep(3); DROP TABLE precious", "postgres")
    story.covered(time.time())
    at = datetime.fromtimestamp(moment, UTC).isoformat()
    story.operator.run("--yes", "backup", "restore", "acme", "--at", at, "--no-safety")
    assert psql(story.host, "SELECT sum(i) FROM precious", "postgres") == "6"
    late = story.operator.run("--yes", "backup", "restore", "acme", "--at", "2020-01-01", check=False)
    assert late.returncode != 0
    assert "is outside of what can be restored to the moment" in late.stderr
    # The log that begins has its base before anything is broken: one that failed is tried again a quarter of an hour later.
    story.covered(time.time())


def test_a_dead_target_costs_the_other_nothing(story):
    """It is said by name and in the exit code; the other one has its archive, and the older ones are there."""
    before = story.archives()
    story.storage.stop("sftp")
    try:
        made = story.run(code=3)
    finally:
        story.storage.start_sftp()
    assert [each["target"] for each in made if each["error"]] == ["nas"]
    after = story.archives()
    assert after["nas"] == before["nas"]
    assert after["away"] == [*before["away"], made[0]["archive"]["id"]]
    told = story.operator.run("backup", "status", "acme", "--json", check=False)
    assert told.returncode == 4
    assert "acme on nas: the last run failed" in told.stdout


def test_a_wrong_key_is_said_and_changes_nothing(story):
    """The repositories are neither opened nor made anew; the next apply puts the right key back."""
    before = story.archives()
    story.host.ssh("echo 00 > /etc/otobot/backup/acme/key", user="root")
    made = story.run(code=3)
    assert [each["error"]["kind"] for each in made] == ["password", "password"]
    assert story.operator.data("host", "apply", "vps-1")["changed"] == ["backup/acme"]
    assert kept(before, story.archives())
    assert [each["error"] for each in story.run()] == [None, None]


def test_a_run_that_is_killed_leaves_no_archive_and_is_in_nobodys_way(story):
    """As systemd's timer starts it, with kill -9 while it reads: no archive, a failed unit, and the next run is well."""
    before = story.archives()
    story.host.ssh(f"systemctl start --no-block {UNIT}", user="root")
    # On the host, because a login may take longer than it reads; the pattern does not match the loop's own command line.
    reading = "pgrep --full -- '--stdin-filename=/databases-otobot_frontend[.]dump' >/dev/null"
    kill = f"systemctl kill --signal=KILL {UNIT}"
    story.host.ssh(f"for n in $(seq 3000); do {reading} && {kill} && exit; sleep 0.05; done; exit 1", user="root")
    story.idle()
    assert story.host.ssh(f"systemctl is-failed {UNIT}", user="root").stdout.strip() == "failed"
    assert story.archives() == before
    assert [each["error"] for each in story.run()] == [None, None]
    assert {name: len(ids) for name, ids in story.archives().items()} == {n: len(i) + 1 for n, i in before.items()}


def test_the_host_is_lost_and_everything_is_back_on_a_blank_one(story, tmp_path, record_property):
    """With a copy of the fleet and a recovery key alone: rows, credentials, workflows and files of the newest archive.

    Somebody who was erased after that archive is not back: the host had told the storages his id.
    """
    somebody = Operator(tmp_path)
    identity = somebody.home / ".config/otobotctl/identity.txt"
    identity.parent.mkdir(parents=True)
    subprocess.run(["age-keygen", "--output", str(identity)], check=True, capture_output=True, timeout=60)
    opened = subprocess.run(["age-keygen", "-y", str(identity)], check=True, capture_output=True, text=True, timeout=60)
    story.operator.run("secrets", "recipients", "add", opened.stdout.strip())
    with story.filler.write("last"):
        wanted = story.run()[-1]["archive"]
        story.operator.run("--yes", "vault", "gdpr", "erase", "acme", "user0@acme.example")
        story.host.ssh("systemctl start otobot-backup-acme-erasures.service", user="root")
        psql(story.host, "CREATE TABLE last_words AS SELECT 'committed within the last minute'", "postgres")
        record_property("rpo_s", round(story.covered(time.time()), 1))
        story.host.power_cut()
    blank = story.lab.make("warm", "blank")  # before the other is gone: it gets an address of its own
    story.lab.destroy(story.host)
    shutil.copytree(story.operator.fleet, somebody.fleet)
    began = time.monotonic()
    somebody.add_host("vps-2", blank)
    told = somebody.data("--yes", "backup", "restore", "acme", "--to", "vps-2")
    took = time.monotonic() - began
    found = prove(story, somebody, blank, wanted["made"], [str(uuid5(NAMESPACE, "user 0"))])
    print(f"back after {took:.0f} s, of which {told['took_s']:.0f} s of restoring; {found}")
    record_property("rto_s", round(took, 1))
    assert told["archive"] == wanted["id"]
    assert psql(blank, "SELECT * FROM last_words", "postgres") == "committed within the last minute"
    assert found["wrong"] == []
    assert found["committed"] >= CONNECTIONS
    assert (found["decrypted"], found["read"], found["files"], found["unknown"]) == (20, 20, 2, 0)
    assert found["workflows"] == WORKFLOWS
    assert found["gone"] == len(SERVICES)
    assert {proof["service"] for proof in told["proofs"]} == {"vault-api", "n8n"}
