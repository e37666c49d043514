"""Drills and checks on a real host: Docker's own networks and containers, the release's own images, systemd's unit."""

from __future__ import annotations

import json
import subprocess
import time
from collections.abc import Iterator
from dataclasses import dataclass

import pytest

from tests.e2e.filled import Filler
from tests.e2e.operator import Operator
from tests.lab.host import Host
from tests.lab.lab import Lab
from tests.lab.shell import until

pytestmark = pytest.mark.timeout(1500)  # of the first test: it deploys a client

CONNECTIONS = 480  # eight a user
REPOSITORY = "/srv/backup/acme"


@dataclass
class Drilled:
    """A client with one archive on a disk of its host."""

    operator: Operator
    host: Host

    def left(self) -> list[str]:
        """Containers and networks of drills that are there."""
        listed = "docker ps --all --filter label=otobot.drill --format '{{.Names}}'; "
        listed += "docker network ls --filter label=otobot.drill --format '{{.Name}}'"
        return self.host.ssh(listed, user="root").stdout.split()

    def drill(self, *words: str, code: int = 0) -> dict:
        """Drill by the command line; return the answer's data."""
        done = self.operator.run("backup", "drill", "acme", *words, "--json", check=False)
        assert done.returncode == code, f"{done.returncode}\n{done.stdout}\n{done.stderr}"
        return json.loads(done.stdout)["data"]


@pytest.fixture(scope="module")
def drilled(lab: Lab, tmp_path_factory) -> Iterator[Drilled]:
    """PostgreSQL and the vault, with credentials that it has sealed."""
    with lab.host("warm") as host:
        operator = Operator(tmp_path_factory.mktemp("operator"))
        operator.init()
        operator.add_host("vps-1", host)
        operator.create("acme", "vps-1", "acme.example", "postgres", "vault-api")
        folder = tmp_path_factory.mktemp("record")
        filler = Filler(host, "acme", operator.secrets("acme")["ENCRYPTION_MASTER_KEY"], folder / "record.jsonl")
        filler.fill(CONNECTIONS)
        path = operator.fleet / "clients-config.json"
        manifest = json.loads(path.read_text())
        manifest["clients"]["acme"]["backup"] = {
            "schedule": "4-hourly",
            "targets": {"disk": {"repository": REPOSITORY}},
        }
        path.write_text(json.dumps(manifest, indent=2) + "\n")
        operator.run("host", "apply", "vps-1")
        state = "systemctl show --property=ActiveState --value otobot-backup-acme.service"
        until(lambda: host.ssh(state, user="root").stdout.strip() in {"inactive", "failed"}, "the first run", 300, 0.5)
        operator.run("backup", "run", "acme")
        yield Drilled(operator, host)


def test_the_newest_archive_is_proved_and_nothing_is_left(drilled: Drilled) -> None:
    """Rows, credentials and bytes; the report is the host's, by a key that the fleet pinned at first contact."""
    found = drilled.drill()
    report = found["report"]
    assert report["ok"] is True
    checks = {each["name"]: each for each in report["checks"]}
    assert checks["credentials"]["stored"] >= CONNECTIONS
    assert checks["credentials"]["opened"] >= 1
    dump = next(each for each in report["parts"] if each["name"] == "/databases/otobot_frontend.dump")
    assert dump["rows"] >= CONNECTIONS
    assert 0 < report["took_s"] < report["promised"]["rto_s"]
    assert found["signed_by"].startswith("SHA256:")
    assert drilled.left() == []
    assert drilled.drill("--report")["report"] == report
    (client,) = drilled.operator.data("backup", "status", "acme")["clients"]
    assert (client["drill"]["ok"], client["overdue"]) == (True, [])


def test_another_machine_fetches_what_it_lacks_and_keeps_none_of_it(drilled: Drilled) -> None:
    """The same machine at another address, with the client's images hidden: pulled and built, removed, and counted."""
    second = f"{drilled.host.address.rpartition('.')[0]}.201"
    drilled.host.ssh(f"ip address add {second}/24 dev host0", user="root")
    words = ("--user", drilled.host.user, "--docker", "distribution")
    drilled.operator.run("host", "add", "spare-1", "--address", second, *words)
    drilled.operator.run("host", "trust", "spare-1", "--yes")
    used = drilled.drill("--report")["report"]["images"]
    hidden = {used[name]: f"hidden/{number}:1" for number, name in enumerate(("postgres", "vault-api"))}
    for image, other in hidden.items():
        drilled.host.ssh(f"docker tag {image} {other} && docker image rm {image}", user="root")
    try:
        found = drilled.drill("--on", "spare-1", "--repository", REPOSITORY)
        images = drilled.host.ssh("docker image ls --format '{{.Repository}}:{{.Tag}}'", user="root").stdout.split()
    finally:
        for image, other in hidden.items():
            drilled.host.ssh(f"docker tag {other} {image}; docker image rm {other}", user="root")
    report = found["report"]
    assert (found["host"], report["on"], report["ok"]) == ("spare-1", "spare-1", True)
    assert {each["image"] for each in report["fetched"]} == set(hidden)
    assert set(hidden).isdisjoint(images)
    assert next(each for each in report["checks"] if each["name"] == "credentials")["opened"] >= 1
    assert drilled.left() == []
    assert "elsewhere" not in drilled.host.ssh("ls /var/lib/otobot/backup/acme", user="root").stdout
    (client,) = drilled.operator.data("backup", "status", "acme")["clients"]
    assert (client["drill"]["on"], client["overdue"]) == ("spare-1", [])


def test_while_it_lasts_nothing_of_it_reaches_out_and_a_kill_leaves_it_to_the_next(drilled: Drilled) -> None:
    """The network has no route; the container is there after kill -9, and gone after systemd's own drill."""
    argv = drilled.host.ssh_argv(user="root")
    process = subprocess.Popen(
        [*argv, "otobot-backup acme drill"], stdout=subprocess.DEVNULL, stderr=subprocess.DEVNULL
    )
    name = "otobot-drill-acme-postgres"
    until(lambda: name in drilled.left(), "the drill's container", 180, 0.05)
    drilled.host.ssh("pkill -KILL -f '^/usr/bin/python3 -I /usr/local/sbin/otobot-backup acme drill'", user="root")
    process.wait(60)
    network = drilled.host.ssh("docker network inspect --format '{{.Internal}}' otobot-drill-acme", user="root")
    assert network.stdout.strip() == "true"
    routes = drilled.host.ssh(f"docker exec {name} cat /proc/net/route", user="root").stdout.splitlines()[1:]
    assert all(line.split()[1] != "00000000" for line in routes), "a default route"
    assert name in drilled.left()
    drilled.host.ssh("systemctl start otobot-backup-acme-drill.service", user="root")
    assert drilled.left() == []
    (client,) = drilled.operator.data("backup", "status", "acme")["clients"]
    assert client["drill"]["ok"] is True
    assert time.time() - client["drill"]["at"] < 3600


def test_the_timers_check_is_well_and_a_flipped_bit_is_told(drilled: Drilled) -> None:
    """By the restic of Debian 13; the archive is named, and the doctor calls it critical."""
    drilled.host.ssh("systemctl start otobot-backup-acme-verify.service", user="root")
    (client,) = drilled.operator.data("backup", "status", "acme")["clients"]
    assert client["targets"][0]["verified"]["error"] is None
    flip = (
        f"f=$(find {REPOSITORY}/data -type f -printf '%s %p\\n' | sort -n | tail -1 | cut -d' ' -f2); chmod u+w $f; "
        "printf '\\377' | dd of=$f bs=1 seek=3000 conv=notrunc status=none"
    )
    drilled.host.ssh(flip, user="root")
    done = drilled.operator.run("backup", "verify", "acme", "--full", "--json", check=False)
    answer = json.loads(done.stdout)
    assert done.returncode == 1, done.stdout
    (target,) = answer["data"]["targets"]
    assert target["error"]["kind"] == "damaged"
    listed = [row["id"] for row in drilled.operator.data("backup", "list", "acme")["archives"]]
    assert target["damaged"]
    assert set(target["damaged"]) <= set(listed)
    told = drilled.operator.run("doctor", "acme", "--json", check=False)
    (host,) = json.loads(told.stdout)["data"]["hosts"]
    assert any(
        row["check"] == "backups" and row["severity"] == "critical" and "are damaged" in row["seen"]
        for row in host["findings"]
    )
