"""A run against a job: real restic, a stand-in for docker."""

from __future__ import annotations

import io
import shutil
import tarfile
from pathlib import Path

import pytest

from otobotctl.agent.backup.restic import flat
from tests.agent.backup.hosts import DUMP, PARTS, SECRETS, BackupHost


@pytest.fixture
def host(tmp_path: Path) -> BackupHost:
    """A host with one local target."""
    if shutil.which("restic") is None:
        pytest.skip("restic is not installed")
    made = BackupHost(tmp_path)
    made.make("disk")
    return made


def test_an_archive_has_every_part_and_says_what_it_is(host: BackupHost) -> None:
    """Each part is what its program printed; rows, images and release are told; state.json knows it."""
    result = host.run()["disk"]
    assert result["error"] is None
    archive = host.archive("disk", result["archive"]["id"])
    parts = {part["name"]: part for part in archive["parts"]}
    assert set(parts) == PARTS
    assert parts["/databases/otobot_n8n.dump"]["rows"] == {"public.credentials": 12, "public.users": 3}
    assert (
        host.restic(
            "disk", "dump", parts["/databases/otobot_n8n.dump"]["snapshot"], "/databases-otobot_n8n.dump"
        ).encode("latin-1")
        == DUMP
    )
    dumped = (host.docker / "dumped").read_text()
    assert dumped.count("--snapshot=00000003-0000001B-1") == dumped.count("--compress=0") == 2
    assert (archive["release"], archive["reason"], archive["consistent"]) == (1, "manual", False)
    assert archive["images"]["n8n"] == "n8n:1"
    known = host.state()["targets"]["disk"]
    assert known["archive"]["id"] == archive["id"]
    assert known["archive"]["bytes"] == sum(part["bytes"] for part in archive["parts"])
    assert known["attempt"]["error"] is None
    assert (host.root / "state/acme/state.json").stat().st_mode & 0o777 == 0o600


def test_restic_is_started_once_for_each_part_and_once_for_the_whole(host: BackupHost) -> None:
    """Each start derives the key anew: nobody asks a repository first that is there and free."""
    first = host.run()["disk"]["archive"]["id"]
    heard = host.hear_restic()
    assert host.run()["disk"]["error"] is None
    said = heard.read_text().splitlines()
    assert [line for line in said if " backup " not in line] == []
    assert len(said) == len(host.archive("disk", first)["parts"]) + 1


def test_the_configuration_is_there_without_its_secrets(host: BackupHost) -> None:
    """The release's files but the secret ones, and the secrets as they are sealed; no volume holds n8n's key."""
    result = host.run()["disk"]
    parts = {part["name"]: part for part in host.archive("disk", result["archive"]["id"])["parts"]}

    def names(name: str) -> set[str]:
        data = host.restic("disk", "dump", parts[name]["snapshot"], flat(name)).encode("latin-1")
        with tarfile.open(fileobj=io.BytesIO(data)) as packed:
            return set(packed.getnames())

    assert names("/configuration.tar") == {"release/compose.yaml", "release/release.json", "secrets.age"}
    assert names("/volumes/n8n_data.tar") == {".", "./binary"}
    everything = "".join(host.restic("disk", "dump", each["id"], each["paths"][0]) for each in host.snapshots("disk"))
    assert "CREATE ROLE" in everything
    assert not [secret for secret in (*SECRETS, "mongo-pass", "password-of-the-repository") if secret in everything]


def test_a_dead_target_costs_the_others_nothing(host: BackupHost) -> None:
    """Its failure is one message with what to do; the archive on the other is whole."""
    host.target("away", "rest:http://127.0.0.1:9/")
    host.target("second", str(host.root / "repositories/second"))
    host.write_job()
    results = host.run()
    assert results["away"]["error"]["kind"] in ("unreachable", "slow")
    assert "otobotctl backup run acme --target away" in results["away"]["error"]["remedy"]
    assert len(host.archives("disk")) == len(host.archives("second")) == 1
    assert host.state()["targets"]["away"]["attempt"]["error"]
