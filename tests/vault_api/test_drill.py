"""A drill restores a real database of the vault and proves it, by restic, PostgreSQL and the vault's own program.

It is here for the vault's database; what is tried is agent/backup/drill.py and drilling.py.
"""

from __future__ import annotations

import json
import shutil
import subprocess

import pytest

from tests.agent.backup.drills import DrillHost
from tests.vault_api.test_rewrap import fill

TABLES = """
SELECT n.nspname || '.' || c.relname FROM pg_class c JOIN pg_namespace n ON n.oid = c.relnamespace
WHERE c.relkind = 'r' AND n.nspname !~ '^pg_' AND n.nspname <> 'information_schema'"""


@pytest.fixture
def host(fresh, postgres, tmp_path):
    """A host whose repository is empty, and a vault with nine sealed values in its database."""
    if shutil.which("restic") is None:
        pytest.skip("restic is not installed")
    fill(fresh)
    made = DrillHost(tmp_path / "host", postgres.server, fresh.environment["VAULT_DATABASE_NAME"], fresh.environment)
    made.root.mkdir()
    made.make()
    return made


def rows(fresh):
    """The exact rows of each table."""
    with fresh.database() as connection:
        names = [name for (name,) in connection.execute(TABLES).fetchall()]
        return {name: connection.execute(f"SELECT count(*) FROM {name}").fetchone()[0] for name in names}


def test_an_archive_is_proved_and_everything_is_removed(host, fresh):
    """Rows, bytes and credentials are as they were; the report is signed by the host's key, and says what it took."""
    expected = rows(fresh)
    name = host.archive(expected)
    report, error = host.drill()
    assert error is None, report
    assert (report["ok"], report["archive"], report["target"]) == (True, name, "disk")
    checks = {each["name"]: each for each in report["checks"]}
    assert checks["credentials"]["opened"] == 9
    dump = next(each for each in report["parts"] if each["name"].endswith(".dump"))
    assert (dump["tables"], dump["rows"]) == (len(expected), sum(expected.values()))
    assert len(dump["sha256"]) == len(dump["digest"]) == 64
    assert next(each for each in report["parts"] if each["name"].endswith(".tar"))["files"] == 1
    assert 0 < report["took_s"] < 600
    assert report["age_s"] <= report["rpo_s"] + 1
    assert host.left() == []
    assert host.state()["ok"] is True
    assert host.state()["archive"] == name
    calls = (host.docker / "calls").read_text()
    assert "network create --internal" in calls
    for secret in ("ENCRYPTION_MASTER_KEY", "VAULT_RUNTIME_PASSWORD"):
        assert fresh.environment[secret] not in calls + host.said
    signature(host)


def signature(host):
    """The report verifies with the host's public key, and no longer once a letter is changed."""
    folder = host.root
    public = (folder / "ssh_host_ed25519_key.pub").read_text()
    (folder / "signers").write_text("h " + public)
    (folder / "sig").write_text(host.signed["signatures"][0])
    argv = ["ssh-keygen", "-Y", "verify", "-f", str(folder / "signers"), "-I", "h", "-n", "otobot-drill"]
    argv += ["-s", str(folder / "sig")]
    text = host.signed["report"]
    assert subprocess.run(argv, input=text.encode(), capture_output=True, check=False).returncode == 0
    changed = text.replace('"ok":true', '"ok":false')
    assert subprocess.run(argv, input=changed.encode(), capture_output=True, check=False).returncode != 0


def test_what_does_not_come_back_is_told(host, fresh):
    """A row too few, another key, an archive without its image: each is a failed drill with its reason."""
    expected = rows(fresh)
    host.archive({**expected, "vault.users": expected["vault.users"] + 1})
    report, error = host.drill()
    assert not report["ok"]
    assert "vault.users has 1 rows of 2" in error["message"]
    host.archive(expected)
    model = json.loads((host.docker / "config.json").read_text())
    model["services"]["vault-api"]["environment"]["ENCRYPTION_MASTER_KEY"] = "00" * 32
    (host.docker / "config.json").write_text(json.dumps(model))
    report, error = host.drill()
    assert not next(each for each in report["checks"] if each["name"] == "credentials")["ok"]
    assert "credentials" in error["message"]
    host.archive(expected, images={"postgres": "broken"})
    report, error = host.drill()
    assert "broken" in error["message"]
    assert host.state()["ok"] is False
    assert host.left() == []


def test_a_killed_drill_leaves_nothing_once_the_next_has_run(host, fresh):
    """Killed while a container runs and while it is filled; the next is not in its way."""
    host.archive(rows(fresh))
    for sign in ('"check": "/databases/roles.sql"', '"proving"'):
        host.kill_when(sign)
        assert host.left() != []
    report, error = host.drill()
    assert error is None, report
    assert host.left() == []


def test_a_drill_fills_no_disk(host, fresh):
    """Where there is no room for it, it does not begin."""
    host.archive(rows(fresh), parts=[{"name": "/databases/a.dump", "snapshot": "x", "bytes": 1 << 60, "rows": None}])
    report, error = host.drill()
    assert "a drill needs about" in error["message"]
    assert "network create" not in (host.docker / "calls").read_text()
    assert report["ok"] is False


def test_without_an_archive_a_drill_fails(host):
    """There is nothing to prove, which is no proof."""
    report, error = host.drill()
    assert "no archive" in error["message"]
    assert report["ok"] is False
    assert host.state()["ok"] is False


@pytest.fixture
def spare(host, fresh):
    """A machine that has no image and nothing of the client; what an operator brings is all there is."""
    (host.docker / "images").mkdir()
    host.archive(rows(fresh))
    return host


BUILT = {
    "vault-api": {
        "reference": "otobot/vault-api:now",
        "files": [{"path": "Dockerfile", "mode": "0644", "content_base64": "RlJPTQ=="}],
    }
}


def secrets_of(spare):
    """What an operator brings that nobody else may see."""
    asked = spare.brought()
    return asked["job"]["targets"][0]["environment"]["RESTIC_PASSWORD"], asked["vault"]["ENCRYPTION_MASTER_KEY"]


def test_elsewhere_a_drill_has_what_is_brought_and_leaves_nothing(spare):
    """Missing images are pulled or built and removed; no secret is in a file, a command line or a record."""
    report, error = spare.elsewhere(built=BUILT)
    assert error is None, report
    assert (report["ok"], report["on"]) == (True, "spare")
    assert next(each for each in report["checks"] if each["name"] == "credentials")["opened"] == 9
    assert [each["image"] for each in report["fetched"]] == ["postgres:16", "otobot/vault-api:now"]
    assert (spare.docker / "context.tar").read_bytes().count(b"Dockerfile") == 1
    assert spare.left() == []
    assert list((spare.docker / "images").iterdir()) == []
    assert list((spare.root / "there").iterdir()) == []
    for secret in secrets_of(spare):
        assert secret not in spare.said
        found = [path for path in spare.root.rglob("*") if path.is_file() and secret.encode() in path.read_bytes()]
        assert {path.name for path in found} <= {"key", "config.json"}, found
    signature(spare)


def test_elsewhere_a_killed_drill_is_removed_by_the_next(spare, fresh):
    """Killed while it fetches and fills: the next drill there is a whole one, and leaves nothing."""
    for sign in ('"fetching": "postgres', '"check": "/databases/roles.sql"'):
        spare.kill_when(sign, spare.start_elsewhere(spare.brought(built=BUILT)))
        assert list((spare.root / "there/acme").iterdir())
        for secret in secrets_of(spare):
            assert all(
                secret.encode() not in each.read_bytes() for each in spare.root.glob("there/**/*") if each.is_file()
            )
    (spare.root / "there/other/elsewhere").mkdir(parents=True)  # of a killed drill of another client
    report, error = spare.elsewhere(built=BUILT)
    assert error is None, report
    assert spare.left() == []
    assert list((spare.docker / "images").iterdir()) == []
    assert list((spare.root / "there").iterdir()) == []


def test_elsewhere_a_wrong_password_is_told(spare):
    """And nothing is started."""
    asked = spare.brought()
    asked["job"]["targets"][0]["environment"]["RESTIC_PASSWORD"] = "another-password"
    report, error = spare.elsewhere(job=asked["job"])
    assert (report["ok"], error["kind"]) == (False, "password")
    assert "another-password" not in spare.said
    assert list((spare.root / "there").iterdir()) == []
