"""A restore on a host: real PostgreSQL, real restic, a stand-in for docker."""

from __future__ import annotations

import json
import shutil

import pytest

from scripts.story import embedded
from tests.agent.backup.restored_host import ANNA, BEN, CARL, CLIENT, RestoreHost

FIRST = ("a,b", "anna@acme.example,ben@acme.example,carl@acme.example", "of n8n")
SPOILT = ("spoilt,spoilt", "mallory@acme.example,ben@acme.example,carl@acme.example", "spoilt")


@pytest.fixture(scope="module")
def server():
    """One PostgreSQL for all of these tests."""
    if shutil.which("restic") is None:
        pytest.skip("restic is not installed")
    with embedded.running() as made:
        yield made


@pytest.fixture(scope="module")
def archived(tmp_path_factory, server) -> RestoreHost:
    """A host with one archive, in a repository and as files."""
    made = RestoreHost(tmp_path_factory.mktemp("host"), server)
    made.make("disk")
    made.ident = made.run()["disk"]["archive"]["id"]
    made.keep(made.ident)
    return made


@pytest.fixture
def host(archived) -> RestoreHost:
    """The host after everything was spoilt; its archive is read from files."""
    archived.anew()
    archived.spoil()
    yield archived
    archived.keep_back()


@pytest.fixture
def real(host) -> RestoreHost:
    """The same; its archive is read from the repository."""
    host.let_go()
    return host


def seen(host: RestoreHost) -> tuple[str, str, str]:
    return host.names(), host.people(), (host.volume / "binary").read_text()


def clean(host: RestoreHost) -> None:
    """Nothing of a restore is left, and everything runs."""
    assert [name for name in host.databases() if "restoring" in name or "before" in name] == []
    assert [path.name for path in host.volume.parent.iterdir()] == ["otobot-acme_n8n_data"]
    assert not (host.root / "state/acme/restore.json").exists()
    assert host.running() == {"postgres", "n8n", "vault-api"}


def test_everything_comes_back_and_what_was_there_is_archived(real):
    """Databases and files are the archive's, but for what no archive has; the safety archive has the spoilt ones."""
    host = real
    assert host.restore(safety=True) == 0, host.said
    assert seen(host) == FIRST
    assert not (host.volume / "new").exists()
    assert (host.volume / "config").read_text() == "encryption-key-of-n8n"
    clean(host)
    known = host.state()["restored"]
    assert known["id"] == host.ident
    assert known["rows"]["otobot_n8n"] == {"public.step": 1, "public.workflow": 2}
    assert known["took_s"] > 0
    assert known["lost_s"] > 0
    assert host.archive("disk", known["safety"])["reason"] == "safety"
    # The newest is now the safety archive, and it is not what "the newest" means.
    assert host.restore() == 0
    assert host.state()["restored"]["id"] == host.ident
    assert host.restore(id=known["safety"]) == 0
    assert seen(host) == SPOILT
    clean(host)


def test_a_restore_that_is_not_healthy_gives_the_former_data_back(host):
    """The services do not come up on what was restored: what was there is back and runs; the reason is told."""
    (host.docker / "broken").touch()
    assert host.restore() == 0
    assert any(line.startswith("FAILED taken_back") and "n8n is unhealthy" in line for line in host.said), host.said
    assert seen(host) == SPOILT
    assert (host.volume / "new").read_text() == "new"
    clean(host)


def test_a_service_that_cannot_prove_its_data_gives_the_former_data_back(host):
    """Up and healthy is not enough: the key does not open what was restored."""
    host.inside("vault-proof", "echo its key opens nothing >&2; exit 1")
    assert host.restore(proofs=[{"service": "vault-api", "argv": ["vault-proof"]}]) == 0
    assert any("FAILED taken_back" in line and "its key opens nothing" in line for line in host.said), host.said
    assert seen(host) == SPOILT
    clean(host)


@pytest.mark.parametrize("turn", range(4))
def test_a_killed_restore_is_undone_or_finished_by_the_next(host, turn):
    """Killed before any of its effects, the next one ends with the archive's data, and nothing is left over."""
    assert host.restore(service="n8n") == 0
    count = int(host.said[-1].split()[1])
    assert count > 15
    for number in range(1 + turn, count + 1, 4):
        host.spoil()
        assert host.restore(kill=number, service="n8n") == -9
        killed = host.said
        assert host.restore(service="n8n") == 0, (number, killed, host.said)
        assert seen(host) == (FIRST[0], SPOILT[1], FIRST[2]), (number, killed, host.said)
        clean(host)


def test_a_second_kill_while_it_is_undone_costs_nothing(host):
    """Killed in the middle of the exchange, and again while that is put right."""
    host.restore()
    count = int(host.said[-1].split()[1])
    for second in (2, 5, 8):
        host.spoil()
        host.restore(kill=count - 6)
        host.restore(kill=second)
        assert host.restore() == 0
        assert seen(host) == FIRST, (second, host.said)
        clean(host)


def test_a_wrong_count_is_found_before_anything_is_stopped(host):
    """The archive says other rows than its dump has: nothing was stopped, nothing is left, and it is told."""
    path = host.root / "kept/archive.json"
    path.write_text(path.read_text().replace('"public.step":1', '"public.step":7').replace('"public.step": 1', '"public.step": 7'))  # fmt: skip
    before = (host.docker / "calls").read_text()
    assert host.restore() == 0
    assert any("public.step has 1 rows and the archive says 7" in line for line in host.said), host.said
    assert "stop --time" not in (host.docker / "calls").read_text().removeprefix(before)
    assert seen(host) == SPOILT
    clean(host)


def test_a_disk_without_room_is_told_with_the_arithmetic(host):
    """Before anything is done: what is needed for which part, and what is free."""
    path = host.root / "kept/archive.json"
    archive = json.loads(path.read_text())
    for part in archive["parts"]:
        part["bytes"] *= 10**12
    path.write_text(json.dumps(archive))
    assert host.restore() == 0
    assert any(
        "are needed beside what is there (otobot_frontend" in line and "are free on" in line for line in host.said
    )
    assert seen(host) == SPOILT
    clean(host)


def test_one_service_or_one_database_leaves_the_others(host):
    """n8n's database and files come back, then the vault's database alone."""
    assert host.restore(service="n8n") == 0
    assert seen(host) == (FIRST[0], SPOILT[1], FIRST[2])
    host.spoil()
    assert host.restore(database="otobot_frontend") == 0
    assert seen(host) == (SPOILT[0], FIRST[1], SPOILT[2])
    clean(host)


def test_one_table_comes_back_beside_the_live_one(host):
    """The live rows stay; with `replace` they change in one transaction, and what they were is kept."""
    assert host.restore(table="public.workflow") == 0
    assert not [line for line in host.said if "FAILED" in line]
    assert host.names() == "spoilt,spoilt"
    mark = host.ident.lower().replace("-", "_")
    assert host.sql(f"SELECT string_agg(name, ',' ORDER BY id) FROM restored_{mark}.workflow", "otobot_n8n") == "a,b"
    assert host.restore(table="public.workflow") == 0
    assert any(
        "FAILED" in line and f"the schema restored_{mark} is in otobot_n8n already" in line for line in host.said
    )
    # A row that another table refers to is changed and not deleted; a new one goes.
    host.sql("INSERT INTO workflow VALUES (9, 'new')", "otobot_n8n")
    assert host.restore(table="public.workflow", replace=True) == 0
    assert host.names() == "a,b"
    assert host.sql(f"SELECT count(*) FROM before_{mark}.workflow WHERE name <> 'a'", "otobot_n8n") == "3"
    assert host.sql("SELECT count(*) FROM step JOIN workflow ON workflow.id = step.workflow", "otobot_n8n") == "1"
    clean(host)


def test_one_person_is_merged_and_an_erased_one_is_refused(host):
    """Anna is as she was; Ben keeps what he has since; Carl, who was erased, does not come back."""
    host.sql(f"DELETE FROM vault.client_connections WHERE user_id = '{ANNA}'", "otobot_frontend")
    host.sql(f"UPDATE vault.users SET name = 'since' WHERE id = '{BEN}'", "otobot_frontend")
    assert host.restore(user="anna@acme.example") == 0
    assert host.people() == FIRST[1]
    found = "SELECT encrypted_api_key FROM vault.client_connections WHERE user_id = '{}'"
    assert host.sql(found.format(ANNA), "otobot_frontend") == "1:of:anna:x"
    assert host.sql(f"SELECT name FROM vault.users WHERE id = '{BEN}'", "otobot_frontend") == "since"
    host.sql(f"INSERT INTO vault.erasures (client_id, user_id) VALUES ('{CLIENT}', '{CARL}')", "otobot_frontend")
    assert host.restore(user=CARL) == 0
    assert any("FAILED" in line and "an erasure is never undone" in line for line in host.said), host.said
    host.sql("UPDATE vault.encryption_keys SET retired_at = now()", "otobot_frontend")
    assert host.restore(user=ANNA) == 0
    assert any("FAILED" in line and "key version 1, which has been retired" in line for line in host.said), host.said
    clean(host)


def test_erasures_made_since_come_along(real):
    """Of the live vault, and of a newer archive where the live one is gone: the restored vault knows whom to erase."""
    host = real
    erased = "SELECT string_agg(user_id::text, ',' ORDER BY user_id) FROM vault.erasures"
    host.sql(f"INSERT INTO vault.erasures (client_id, user_id) VALUES ('{CLIENT}', '{BEN}')", "otobot_frontend")
    assert host.restore(id=host.ident) == 0
    assert host.sql(erased, "otobot_frontend") == BEN
    host.sql(f"INSERT INTO vault.erasures (client_id, user_id) VALUES ('{CLIENT}', '{CARL}')", "otobot_frontend")
    assert host.run()["disk"]["error"] is None
    host.fill()  # another machine: nothing is known here
    assert host.restore(id=host.ident) == 0
    assert host.sql(erased, "otobot_frontend") == f"{BEN},{CARL}"
    assert host.state()["restored"]["erased"] == 2


def test_the_list_of_who_was_erased_outlives_the_host(real):
    """Erased after the last archive, then the host is lost: the list is in the repository, and is saved only when new."""
    host = real
    assert host.save_erasures() == []
    host.sql(f"INSERT INTO vault.erasures (client_id, user_id) VALUES ('{CLIENT}', '{CARL}')", "otobot_frontend")
    assert host.save_erasures() == ["disk: 1 erasures are known there"]
    assert host.save_erasures() == []
    assert len([each for each in host.snapshots("disk") if each.get("tags") == ["erasures"]]) == 1
    host.fill()  # another machine: nothing is known here
    assert host.restore(id=host.ident) == 0
    assert CARL in host.sql("SELECT user_id FROM vault.erasures", "otobot_frontend")


def test_a_vault_that_does_not_erase_again_is_not_opened(host):
    """Its migration did nothing: the former data comes back, whoever is erased with it."""
    host.sql(f"INSERT INTO vault.erasures (client_id, user_id) VALUES ('{CLIENT}', '{BEN}')", "otobot_frontend")
    (host.docker / "lazy").touch()
    assert host.restore() == 0
    (host.docker / "lazy").unlink()
    assert any("FAILED taken_back" in line and "people who were erased are still there" in line for line in host.said)
    assert seen(host) == SPOILT
    clean(host)
