"""A restore on a host: real PostgreSQL, real restic, a stand-in for docker."""

from __future__ import annotations

import shutil
from pathlib import Path

import pytest

from scripts.story import embedded
from tests.agent.backup.restored_host import RestoreHost

FIRST = ("a,b", "anna@acme.example,ben@acme.example,carl@acme.example", "of n8n")
SPOILT = ("spoilt,spoilt", "mallory@acme.example,ben@acme.example,carl@acme.example", "spoilt")


@pytest.fixture(scope="module")
def server():
    """One PostgreSQL for all of these tests."""
    if shutil.which("restic") is None:
        pytest.skip("restic is not installed")
    with embedded.running() as made:
        yield made


@pytest.fixture
def host(tmp_path: Path, server) -> RestoreHost:
    """A host with one archive, after which everything was spoilt."""
    made = RestoreHost(tmp_path, server)
    made.make("disk")
    made.ident = made.run()["disk"]["archive"]["id"]
    made.spoil()
    return made


def seen(host: RestoreHost) -> tuple[str, str, str]:
    return host.names(), host.people(), (host.volume / "binary").read_text()


def clean(host: RestoreHost) -> None:
    """Nothing of a restore is left, and everything runs."""
    assert [name for name in host.databases() if "restoring" in name or "before" in name] == []
    assert [path.name for path in host.volume.parent.iterdir()] == ["otobot-acme_n8n_data"]
    assert not (host.root / "state/acme/restore.json").exists()
    assert host.running() == {"postgres", "n8n", "vault-api"}


def test_everything_comes_back_and_what_was_there_is_archived(host):
    """Databases and files are the archive's, but for what no archive has; the safety archive has the spoilt ones."""
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
