"""What a host is told of a client's backups: the job, the files beside it, the secrets that it needs and the times."""

from __future__ import annotations

import json
import subprocess
from collections.abc import Mapping
from typing import Any

import msgspec
import pytest

from otobotctl.agent.backup.shapes import unit
from otobotctl.plan.kinds.backup import BackupSpec
from otobotctl.render import backups
from otobotctl.render.client import services_of
from otobotctl.secrets import Secret
from otobotctl.secrets.mint import mint
from tests.render.sample import catalog, resolved

HOST_KEY = "ssh-ed25519 AAAAC3NzaC1lZDI1NTE5AAAAIIGi0JyN/GhhVHfCy1nUPu0iWcMBNcH6/ZmlkvZhkK5a"
TARGETS = {
    "nas": {"repository": "sftp://backup@nas.example:2222//srv/{client}", "host_key": HOST_KEY},
    "ovh": {"repository": "s3:https://s3.gra.example/otobot/{client}", "region": "gra"},
    "safe-box": {"repository": "rest:https://{client}@box.example:8000/{client}", "append_only": True},
    "disk": {"repository": "/srv/backups/{client}"},
}
SEALED = b"-----BEGIN AGE ENCRYPTED FILE-----\n"


def client(targets: Mapping[str, Any] = TARGETS, **said: Any) -> Any:
    """The sample's acme with these targets and n8n, in prod."""

    def change(document: dict[str, Any]) -> None:
        document["clients"]["acme"]["services"] = ["postgres", "vault-api", "token-refresher", "n8n", "nginx"]
        document["clients"]["acme"]["backup"] = {"targets": targets, **said}

    return resolved(change, catalog().archives()).client("acme")


def made(of: Any) -> tuple[backups.HostBackup, dict[str, Secret]]:
    """What its host keeps, and the secrets that it was rendered with."""
    specs = catalog().specs_of(of)
    secrets = {spec.name: Secret(spec.name, f"given-{spec.name}" if spec.given else mint(spec.kind)) for spec in specs}
    services = services_of(of, resolved().host("vps-1"), catalog())
    return backups.host_backup(of, services, secrets, SEALED), secrets


def files(of: Any) -> dict[str, bytes]:
    """The host's files by name."""
    return {each.path: each.content for each in made(of)[0].files}


def job(of: Any) -> dict[str, Any]:
    """The job as the host reads it."""
    found: dict[str, Any] = json.loads(files(of)["job.json"])
    return found


def test_a_client_without_targets_has_no_secrets_no_files_and_no_timers() -> None:
    """Nothing changes for a fleet that does not use backups."""
    without = client({})
    assert backups.specs(without) == ()
    assert backups.host_backup(without, (), {}, b"") == backups.HostBackup("acme")
    assert backups.variables(backups.HostBackup("acme")) == {"client": "acme", "state": "absent"}


def test_each_target_asks_for_its_own_credentials() -> None:
    """The password and the SSH key are minted, what a storage's owner gives out is given."""
    specs = {spec.name: spec.kind for spec in backups.specs(client())}
    assert specs == {
        "BACKUP_KEY": "hex32",
        "BACKUP_SSH_KEY": "ed25519",
        "BACKUP_OVH_ACCESS_KEY": "given",
        "BACKUP_OVH_SECRET_KEY": "given",
        "BACKUP_SAFE_BOX_PASSWORD": "given",
    }
    assert [spec.name for spec in backups.specs(client({"disk": TARGETS["disk"]}))] == ["BACKUP_KEY"]


def test_every_secret_of_backups_says_how_it_is_exchanged() -> None:
    """`secrets rotate` gives a reason instead of a guess."""
    for spec in backups.specs(client()):
        assert spec.given or spec.because


def test_the_job_names_repositories_credentials_and_promises() -> None:
    """As agent/backup/shapes.py says; secrets stand in the environments alone."""
    found = job(client(schedule="hourly", rpo_h=2, drill_days=7, mail="it@acme.example"))
    by_name = {each["name"]: each for each in found["targets"]}
    assert by_name["disk"] == {
        "name": "disk", "repository": "/srv/backups/acme", "environment": {}, "options": [], "append_only": False,
    }  # fmt: skip
    assert by_name["ovh"]["environment"] == {
        "AWS_ACCESS_KEY_ID": "given-BACKUP_OVH_ACCESS_KEY", "AWS_SECRET_ACCESS_KEY": "given-BACKUP_OVH_SECRET_KEY",
    }  # fmt: skip
    assert by_name["ovh"]["options"] == ["s3.region=gra"]
    assert by_name["safe-box"]["repository"] == "rest:https://box.example:8000/acme"
    assert by_name["safe-box"]["append_only"]
    assert by_name["safe-box"]["environment"]["RESTIC_REST_USERNAME"] == "acme"
    assert (found["rpo_s"], found["rto_s"], found["drill_days"], found["mail"]) == (7200, 1800, 7, "it@acme.example")
    assert found["keep"] == {"daily": 30, "weekly": 12, "monthly": 12, "yearly": 7}


def test_the_promise_is_what_the_schedule_gives_unless_somebody_promised_more_time() -> None:
    """Prod makes an archive every four hours."""
    assert job(client())["rpo_s"] == 4 * 3600
    assert job(client(schedule="daily"))["rpo_s"] == 24 * 3600
    assert job(client(schedule="never"))["rpo_s"] == 0
    assert job(client(rpo_h=9))["rpo_s"] == 9 * 3600


def test_no_option_and_no_repository_holds_a_secret() -> None:
    """Both become arguments, which every user of a host can read."""
    backup, secrets = made(client())
    found = json.loads(next(each.content for each in backup.files if each.path == "job.json"))
    shown = json.dumps([[each["repository"], each["options"]] for each in found["targets"]])
    for secret in secrets.values():
        assert secret.reveal() not in shown
        assert secret.reveal() not in repr(backup)


def test_the_key_of_n8ns_credentials_is_in_no_archive() -> None:
    """Its volume holds that key in `config`, beside a database that is sealed with it."""
    sources = {(each["kind"], each["name"]): each for each in job(client())["sources"]}
    assert sources["volume", "n8n_data"]["exclude"] == ["config"]
    assert sources["postgres", "otobot_n8n"] == {
        "kind": "postgres", "name": "otobot_n8n", "service": "postgres", "of": "n8n", "exclude": [],
    }  # fmt: skip


def test_files_are_roots_alone_and_ssh_is_there_for_sftp_alone() -> None:
    """Pinned host keys stand under the target's name, because ports and addresses are written in many ways."""
    backup, secrets = made(client())
    assert {each.path: (each.mode, each.secret) for each in backup.files} == dict.fromkeys(
        ("id_ed25519", "job.json", "key", "known_hosts", "secrets.age", "secrets.sum"), (0o600, True)
    )
    assert backup.packages == ("restic", "openssh-client")
    found = {each.path: each.content.decode() for each in backup.files}
    assert found["known_hosts"] == f"nas {HOST_KEY}\n"
    assert found["key"] == secrets["BACKUP_KEY"].reveal() + "\n"
    assert found["secrets.age"].encode() == SEALED
    alone = made(client({"disk": TARGETS["disk"]}))[0]
    assert [each.path for each in alone.files] == ["job.json", "key", "secrets.age", "secrets.sum"]
    assert alone.packages == ("restic",)


def test_the_sum_of_secrets_moves_with_values_and_people_alone() -> None:
    """Sealing gives other bytes each time, and an entry that a rotation has emptied is no value."""
    of = client()
    backup, secrets = made(of)
    services = services_of(of, resolved().host("vps-1"), catalog())

    def total(more: dict[str, Secret], sealed: bytes = SEALED, people: tuple[str, ...] = ()) -> bytes:
        found = backups.host_backup(of, services, {**secrets, **more}, sealed, people)
        return next(each.content for each in found.files if each.path == "secrets.sum")

    plain = next(each.content for each in backup.files if each.path == "secrets.sum")
    emptied = {"REDIS_PASSWORD_PREVIOUS": Secret("REDIS_PASSWORD_PREVIOUS", "")}
    assert total(emptied, b"sealed again") == plain
    assert total({"POSTGRES_PASSWORD": Secret("POSTGRES_PASSWORD", "another")}) != plain
    assert total({}, people=("age1marie",)) != plain


def test_ssh_understands_how_an_sftp_storage_is_reached() -> None:
    """By OpenSSH's own reading of the command: the port, the user, the pinned key and no other."""
    (option,) = next(each["options"] for each in job(client())["targets"] if each["name"] == "nas")
    words = option.removeprefix("sftp.command=").split()
    told = subprocess.run(
        [words[0], "-G", *words[1:]], capture_output=True, text=True, check=True, timeout=60
    ).stdout.splitlines()
    for line in (
        "user backup", "hostname nas.example", "port 2222", "hostkeyalias nas", "batchmode yes",
        "userknownhostsfile /etc/otobot/backup/acme/known_hosts", "identityfile /etc/otobot/backup/acme/id_ed25519",
    ):  # fmt: skip
        assert line in told
    assert next(line for line in told if line.startswith("stricthostkeychecking")).split()[1] in {"yes", "true"}


@pytest.mark.parametrize(
    ("said", "times"),
    [
        ({}, ["run *-*-* 02/4:00:00 UTC", "verify Wed *-*-* 04:20:00 UTC", "drill *-*-03 04:40:00 UTC", "erasures *-*-* *:00/15:00 UTC"]),
        ({"schedule": "never"}, ["verify Wed *-*-* 04:20:00 UTC", "drill *-*-03 04:40:00 UTC"]),
        ({"schedule": "daily", "drill_days": 7}, ["run *-*-* 02:00:00 UTC", "verify Wed *-*-* 04:20:00 UTC", "drill Sat *-*-* 04:40:00 UTC", "erasures *-*-* *:00/15:00 UTC"]),
        ({"schedule": "monthly", "drill_days": 1}, ["run *-*-01 02:00:00 UTC", "verify Wed *-*-* 04:20:00 UTC", "drill *-*-* 04:40:00 UTC", "erasures *-*-* *:00/15:00 UTC"]),
    ],
)  # fmt: skip
def test_timers_follow_the_schedule_and_the_drills_promise(said: dict[str, Any], times: list[str]) -> None:
    """A drill comes before it is overdue."""
    assert [f"{each.word} {each.at}" for each in backups.timers(client(**said))] == times


@pytest.mark.parametrize(
    "at", [*backups.SCHEDULES.values(), backups._VERIFY, backups._ERASURES, *(at for _, at in backups._DRILLS)]
)
def test_systemd_understands_every_time(at: str) -> None:
    """By its own program, where this machine has it."""
    try:
        subprocess.run(["systemd-analyze", "calendar", "--", at], check=True, capture_output=True, timeout=60)
    except FileNotFoundError:
        pytest.skip("no systemd-analyze here")


def test_a_playbook_takes_it_as_it_is() -> None:
    """What is rendered is a valid step."""
    backup, _ = made(client())
    spec = msgspec.convert(backups.variables(backup), BackupSpec)
    assert spec.title() == "acme: nas, ovh, safe-box, disk"
    assert {path.rsplit("/", 1)[1] for path in spec.units() if path.endswith(".timer")} == {
        f"{unit('acme', word)}.timer" for word in ("run", "verify", "drill", "erasures")
    }
