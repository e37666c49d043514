"""Point in time on a host: real PostgreSQL and its receiver, real restic, a stand-in for docker."""

from __future__ import annotations

import io
import json
import os
import tarfile
import time
from collections.abc import Iterator

import pytest

from otobotctl.agent.backup.pitr.segments import PARTIAL, WAL_FILE, Piece, following
from otobotctl.agent.backup.restic import Restic
from tests.agent.backup.hosts import SECRETS
from tests.agent.backup.pitr_host import SEALED, PitrHost, client
from tests.agent.backup.restored_host import BEN, CLIENT
from tests.waiting import until

SHORT = 11_902_976  # bytes: as CI once met one


@pytest.fixture(scope="module")
def host() -> Iterator[PitrHost]:
    """A client with one archive, one base, and its log in one repository."""
    yield from client()


def names(host: PitrHost) -> str:
    """What n8n has."""
    return host.sql("SELECT string_agg(name, ',' ORDER BY id) FROM workflow", "otobot_n8n")


def clean(host: PitrHost) -> None:
    """Nothing of a restore is left, and everything runs."""
    assert {path.name for path in host.data.parent.iterdir()} == {
        "otobot-acme_n8n_data", "otobot-acme_postgres_data", "otobot-acme_postgres_wal",
    }  # fmt: skip
    assert not (host.root / "state/acme/restore.json").exists()
    assert host.running() == {"postgres", "postgres-wal", "n8n", "vault-api"}
    assert not any("otobot_wal" in path.name for path in host.data.iterdir())


def test_a_log_that_begins_has_its_base_made_at_once(host):
    """Its unit is started when the log has arrived, and not again once the base is there."""
    said = (host.docker / "units").read_text().splitlines()
    assert set(said) == {"start --no-block -- otobot-backup-acme-base.service"}
    assert host.do("ship") == 0, host.said
    assert (host.docker / "units").read_text().splitlines() == said


def test_the_moment_before_a_drop_comes_back_and_a_row_of_a_moment_ago(host):
    """All that was committed until then and nothing of later; files are the archive's; whoever was erased stays so."""
    host.sql("INSERT INTO workflow VALUES (2, 'b')", "otobot_n8n")
    moment = host.now()
    host.sql("SELECT pg_sleep(2.5)")
    host.sql("DROP TABLE workflow", "otobot_n8n")
    host.sql(f"INSERT INTO vault.erasures (client_id, user_id) VALUES ('{CLIENT}', '{BEN}')", "otobot_frontend")
    (host.docker / "volumes/otobot-acme_n8n_data/binary").write_text("spoilt")
    host.sql("SELECT pg_sleep(2.5)")
    assert host.do("ship") == 0, host.said
    assert host.do("restore", until=moment) == 0, host.said
    assert names(host) == "a,b", host.said
    assert (host.docker / "volumes/otobot-acme_n8n_data/binary").read_text() == "of n8n"
    assert host.sql("SELECT email FROM vault.users WHERE erased_at IS NULL", "otobot_frontend") == "anna@acme.example"
    clean(host)
    known = host.state()["restored"]
    assert abs(known["made"] - moment) < 0.01
    assert known["erased"] == 1
    assert known["what"] == ["postgres_data", "n8n_data"]
    # What is there now has a log of its own, and needs a base of its own.
    before = host.note()["targets"]["disk"]["series"]
    host.based()
    assert host.note()["timeline"] == "00000002"
    assert host.note()["targets"]["disk"]["series"] != before
    host.sql("INSERT INTO workflow VALUES (3, 'c')", "otobot_n8n")
    assert host.do("ship") == 0
    host.sql("DELETE FROM workflow", "otobot_n8n")
    assert host.do("restore", moment="latest", until=host.note()["targets"]["disk"]["covers"]) == 0
    assert names(host) == "a,b,c", host.said
    clean(host)
    host.based()


def test_a_moment_that_the_log_does_not_cover_is_refused(host):
    """In one message with the periods that there are; nothing is touched."""
    assert host.do("restore", until=time.time() + 3600) == 0
    assert host.said[-2].startswith("FAILED"), host.said
    assert "is outside of what can be restored to the moment: 2" in host.said[-2]
    assert "otobotctl backup list acme" in host.said[-2]
    assert len([line for line in host.said if "FAILED" in line]) == 1
    clean(host)


def test_a_shipper_that_is_killed_leaves_no_gap(host):
    """Killed before any of its effects, the next tick sends what is missing, and all of it can be replayed."""
    number, killed = 1, 0
    while True:
        host.sql(f"INSERT INTO step VALUES ({number})", "otobot_n8n")
        host.sql("SELECT pg_switch_wal()")
        if host.do("ship", kill=number) == 0:
            break
        number, killed = number + 1, killed + 1
    assert killed >= 3
    host.sql("SELECT pg_sleep(2.5)")
    assert host.do("ship") == 0
    covers = host.note()["targets"]["disk"]["covers"]
    assert host.do("restore", until=covers) == 0, host.said
    assert host.sql("SELECT count(*), max(id) FROM step", "otobot_n8n") == f"{number}|{number}", host.said
    clean(host)
    host.based()


def test_a_receiver_that_lost_power_while_it_prepared_a_segment_goes_on(host):
    """What has not its whole size is nothing but zeros, and pg_receivewal does not start with it; nothing is missing."""
    host.sql("INSERT INTO workflow VALUES (40, 'd')", "otobot_n8n")
    host.covered()
    series = host.note()["targets"]["disk"]["series"]
    host.fake("stop", "--time", "60", "postgres-wal")
    (partial,) = host.spool.glob("*" + PARTIAL)
    os.truncate(partial, SHORT)
    host.up()
    host.sql("INSERT INTO workflow VALUES (41, 'e')", "otobot_n8n")
    host.covered()
    assert host.note()["targets"]["disk"]["series"] == series


def test_a_segment_that_was_sent_while_it_was_prepared_is_replayed_to_its_end(host):
    """A repository may have the zeros of a segment that had not its size yet; PostgreSQL takes a whole one alone."""
    host.sql("SELECT pg_switch_wal()", "otobot_n8n")
    host.covered()
    known, wanted = host.note()["targets"]["disk"], names(host)
    segment, moment = following(known["last"]), round(known["covers"] + 0.5, 3)
    packed = io.BytesIO()
    with tarfile.open(fileobj=packed, mode="w") as tar:
        member = tarfile.TarInfo(segment + PARTIAL)
        member.size = SHORT
        tar.addfile(member, io.BytesIO(bytes(SHORT)))
    restic = Restic(host.targets["disk"], str(host.root / "etc/acme/key"))
    restic.put(packed.getvalue(), WAL_FILE, Piece((), segment, moment, "").tags(known["series"]), "lab")
    assert host.do("restore", until=moment) == 0
    assert not any("FAILED" in line for line in host.said), host.said
    assert names(host) == wanted
    clean(host)
    host.based()


def test_a_base_that_is_killed_is_none(host):
    """Its copy is of no use to anybody, and the next look makes another."""
    (host.root / "state/acme/bases.json").unlink()
    before = len(json.loads(host.restic("disk", "snapshots", "--json", "--path", "/base.json")))
    for kill in (1, 2, 3):
        assert host.do("base", kill=kill) == -9
        assert len(json.loads(host.restic("disk", "snapshots", "--json", "--path", "/base.json"))) == before
    host.based()
    assert len(json.loads(host.restic("disk", "snapshots", "--json", "--path", "/base.json"))) == before + 1


def test_a_restore_that_is_killed_is_undone_or_finished_by_the_next(host):
    """Killed before its effects, the next one ends at the moment, and nothing is left over."""
    count, number = 0, 3
    moment = host.note()["targets"]["disk"]["covers"]
    wanted = names(host)
    while True:
        if host.do("restore", kill=number, until=moment) == 0:
            break
        killed, count = host.said, count + 1
        assert host.do("restore", until=moment) == 0, (killed, host.said)
        assert names(host) == wanted, (killed, host.said)
        clean(host)
        number += 7  # each of them would take minutes
    assert count >= 2
    clean(host)
    host.based()


def test_a_restore_that_is_not_healthy_gives_the_former_database_back(host):
    """The services do not come up on what was restored: what was there is back, with its log unbroken."""
    moment = host.note()["targets"]["disk"]["covers"]
    host.sql("INSERT INTO workflow VALUES (77, 'later')", "otobot_n8n")
    (host.docker / "broken").touch()
    assert host.do("restore", until=moment) == 0
    assert any("FAILED taken_back" in line and "n8n is unhealthy" in line for line in host.said), host.said
    assert names(host).endswith("later")
    clean(host)
    series = host.note()["targets"]["disk"]["series"]
    assert host.do("ship") == 0
    assert host.note()["targets"]["disk"]["series"] == series


def test_a_dead_target_keeps_no_other_waiting_and_catches_up(host):
    """Its error is told and counted against the minute; the spool keeps what it lacks."""
    repository = host.root / "repositories/second"
    host.target("second", str(repository))
    assert host.run("go(targets=['second'])")["second"]["error"] is None
    assert host.do("ship") == 0, host.said
    repository.rename(host.root / "away")
    host.sql("INSERT INTO workflow VALUES (90, 'x'); SELECT pg_switch_wal()", "otobot_n8n")
    host.sql("SELECT pg_sleep(2.5)")
    assert host.do("ship") == 0, host.said
    known = host.note()["targets"]
    assert known["disk"]["error"] is None
    assert known["second"]["error"]["kind"] == "absent"
    assert known["second"]["covers"] < known["disk"]["covers"]
    assert known["second"]["last"] < known["disk"]["last"]
    assert (host.spool / known["disk"]["last"]).exists()
    assert (
        'otobot_backup_pitr_success{client="acme",target="second"} 0'
        in (host.metrics / "otobot-backup-acme-pitr.prom").read_text()
    )
    (host.root / "away").rename(repository)
    assert host.do("ship") == 0, host.said
    again = host.note()["targets"]
    assert again["second"]["error"] is None
    assert (again["second"]["series"], again["second"]["last"]) == (known["second"]["series"], again["disk"]["last"])
    assert not (host.spool / known["disk"]["last"]).exists()
    host.targets.pop("second")
    host.write_job()


def test_a_log_that_the_server_let_go_of_begins_anew_with_a_base(host):
    """Nobody received for too long: the slot is lost, never passed over; a new series and a new base follow."""
    before = host.note()["targets"]["disk"]["series"]
    host.fake("stop", "--time", "60", "postgres-wal")
    for _ in range(8):
        host.sql("CREATE TABLE filler AS SELECT 1 AS i; DROP TABLE filler; SELECT pg_switch_wal()", "otobot_n8n")
    host.sql("CHECKPOINT")
    host.sql("CHECKPOINT")
    assert host.sql("SELECT wal_status FROM pg_replication_slots") == "lost"
    host.up()
    assert host.do("ship") == 0, host.said
    assert any("a new base is due" in line for line in host.said), host.said
    until(lambda: host.do("ship") == 0 and host.note()["targets"]["disk"]["error"] is None)
    assert host.note()["targets"]["disk"]["series"] != before
    moment = host.now()
    host.sql("SELECT pg_sleep(2.5)")
    assert host.do("ship") == 0
    assert host.do("restore", until=moment) == 0
    assert any("FAILED" in line and "is outside of" in line for line in host.said), host.said
    host.based()


def test_a_missing_segment_is_noticed(host):
    """Somebody deleted a piece of the log: what comes after it cannot be had, and the message names the segment."""
    for place in range(3):
        host.sql(f"INSERT INTO step VALUES ({1000 + place}); SELECT pg_switch_wal()", "otobot_n8n")
        host.sql("SELECT pg_sleep(2.5)")
        assert host.do("ship") == 0
    log = [
        each
        for each in host.snapshots("disk")
        if each["paths"] == ["/wal.tar"] and any(t.startswith("first=") for t in each["tags"])
    ]
    series = "series=" + host.note()["targets"]["disk"]["series"]
    victim = [each for each in log if series in each["tags"]][-2]
    missing = next(tag for tag in victim["tags"] if tag.startswith("first="))[6:]
    host.restic("disk", "unlock", "--remove-all")  # of those who were killed
    host.restic("disk", "forget", victim["id"])
    assert host.do("restore", until=host.note()["targets"]["disk"]["covers"]) == 0
    assert any("FAILED" in line and f"segment {missing} of the log is missing" in line for line in host.said), host.said
    clean(host)


def test_no_secret_of_the_client_is_in_what_the_repository_opens(host):
    """Neither in a base nor in the log; what the vault has sealed is there sealed."""
    listed = [each for each in host.snapshots("disk") if "pitr" in each["tags"]]
    found = b""
    for path, count in (("/base.tar", 1), ("/base.json", 1), ("/wal.tar", 4)):
        for each in [each for each in listed if each["paths"] == [path]][-count:]:
            found += host.restic("disk", "dump", each["id"], path).encode("latin-1")
    assert SEALED.encode() in found
    assert b"anna@acme.example" in found  # what is in clear in a database is in clear in its copies
    for secret in (*SECRETS, "password-of-the-repository"):
        assert secret.encode() not in found
