"""`backup schedule`: what a host says of a client's repositories, put beside what the manifest wants."""

from __future__ import annotations

import json
from collections.abc import Callable, Iterator, Mapping
from pathlib import Path
from typing import Any

import pytest

from otobotctl import data
from otobotctl.cli import main as cli
from otobotctl.cli.human import schedule as words
from otobotctl.errors import StepFailedError, UsageError
from otobotctl.fleet import Fleet
from otobotctl.workflows import converging, secrets
from otobotctl.workflows.backup import schedule as workflow
from otobotctl.workflows.desired import load
from tests.workflows import fleets

HOST_KEY = "ssh-ed25519 AAAAC3NzaC1lZDI1NTE5AAAAIIGi0JyN/GhhVHfCy1nUPu0iWcMBNcH6/ZmlkvZhkK5a"
TARGETS = {
    "nas": {"repository": "sftp:backup@nas.example:/srv/{client}", "host_key": HOST_KEY},
    "box": {"repository": "rest:https://{client}@box.example/{client}", "append_only": True},
}
DENIED = {"kind": "denied", "message": "restic cat ended with 1 on nas: Permission denied", "remedy": "see the key"}


@pytest.fixture
def fleet(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Fleet:
    """Acme with two targets, and beta without, on one host."""
    clients = {
        "acme": fleets.client("acme", "vps-1", services=["postgres", "vault-api"], backup={"targets": TARGETS}),
        "beta": fleets.client("beta", "vps-1", index=1, services=["postgres"]),
    }
    hosts = {"vps-1": {"address": "203.0.113.10"}}
    return fleets.made(monkeypatch, tmp_path / "home", tmp_path / "fleet", hosts, clients)


@pytest.fixture
def host(monkeypatch: pytest.MonkeyPatch) -> Callable[..., list[str]]:
    """Says what the host answers; returns what it was asked."""

    def answers(*repositories: Mapping[str, Any], deployed: bool = True) -> list[str]:
        asked: list[str] = []
        planned = {
            "client": "acme", "deployed": deployed, "public_key": "ssh-ed25519 AAAA otobot-backup-acme" if deployed else "",
            "next": {"run": 1795312984.0, "verify": None, "drill": None} if deployed else {},
        }  # fmt: skip

        def ask(_loaded: object, name: str, clients: object, do: str, _password: object) -> Iterator[Mapping[str, Any]]:
            asked.append(f"{name} {do} {clients}")
            yield from ({"repository": {"made": False, "error": None, **each}} for each in repositories)
            yield {"planned": planned}

        monkeypatch.setattr(workflow, "ask", ask)
        return asked

    return answers


def test_targets_that_are_ready_want_nothing(fleet: Fleet, host: Any) -> None:
    """One question; the manifest's promise and the credentials' names are said beside it."""
    asked = host({"target": "nas", "ready": True}, {"target": "box", "ready": True})
    found, error = workflow.schedule(fleet, "acme")
    assert error is None
    assert asked == ["vps-1 schedule ['acme']"]
    assert [(each.target, each.state, each.secrets) for each in found.targets] == [
        ("nas", "ready", ()), ("box", "ready", ("BACKUP_BOX_PASSWORD",)),
    ]  # fmt: skip
    assert (found.schedule, found.rpo_h, found.todo) == ("4-hourly", 4, "")
    assert found.next["run"] == "2026-11-22T02:03:04Z"
    text = words.schedule(found)
    assert "next 2026-11-22 02:03:04 UTC" in text
    assert "ssh-ed25519 AAAA otobot-backup-acme" in text
    assert "next:" not in text


@pytest.mark.parametrize(
    ("repositories", "todo", "message"),
    [
        ([{"target": "nas", "ready": True}], "otobotctl deploy acme", "vps-1 does not know box of acme"),
        (
            [{"target": "nas", "ready": False, "never": True, "error": {"kind": "absent"}}, {"target": "box", "ready": True}],
            "otobotctl backup schedule acme --init",
            "",
        ),
        (
            [{"target": "nas", "ready": False, "error": DENIED}, {"target": "box", "ready": True}],
            "place the public key at nas, if that has not been done; else see the key",
            "1 of 2 repositories cannot be used",
        ),
    ],
)  # fmt: skip
def test_what_is_to_be_done_next_is_one_command(
    repositories: list[dict[str, Any]], todo: str, message: str, fleet: Fleet, host: Any
) -> None:
    """A look shows it; --init that cannot do it fails with it."""
    host(*repositories)
    found, error = workflow.schedule(fleet, "acme")
    assert (found.todo, error) == (todo, None)
    assert f"next: {todo}" in words.schedule(found)
    _, error = workflow.schedule(fleet, "acme", init=True)
    assert (error.message if error else "") == message
    if error is not None:
        assert isinstance(error, StepFailedError)
        assert error.hint == todo


def test_a_client_without_targets_is_told_what_to_write(fleet: Fleet) -> None:
    """Nobody is asked."""
    with pytest.raises(UsageError, match="beta has no backup targets") as caught:
        workflow.schedule(fleet, "beta")
    assert "docs/backups.md" in str(caught.value.hint)


def test_the_answer_in_json_is_one_envelope(fleet: Fleet, host: Any, capsys: pytest.CaptureFixture[str]) -> None:
    """Of a failure too, and without a value of a secret."""
    host(deployed=False)
    assert cli.main(["--fleet", str(fleet.root), "backup", "schedule", "acme", "--init", "--json"]) == 1
    envelope = json.loads(capsys.readouterr().out)
    assert (envelope["version"], envelope["command"], envelope["ok"]) == (1, "backup schedule", False)
    assert envelope["error"]["hint"] == envelope["data"]["todo"] == "otobotctl deploy acme"
    assert [each["state"] for each in envelope["data"]["targets"]] == ["not deployed"] * 2


def test_a_host_is_told_of_backups_and_a_destroyed_client_leaves_none(fleet: Fleet) -> None:
    """One stage for the host; who has no targets is a step that looks for leftovers alone."""
    loaded = load(fleet)
    for slug in ("acme", "beta"):
        secrets.mint(loaded, slug)
    secrets.set_given(fleet, "acme", "BACKUP_BOX_PASSWORD", "given-by-the-box")
    wanted = converging.desired_of(loaded, "vps-1")
    (stage,) = [stage for stage in wanted.stages if stage.name == converging.BACKUP]
    steps = {step.name: step.spec for step in stage.steps}
    assert steps["backup/packages"].names == ("openssh-client", "restic")  # type: ignore[attr-defined]
    assert steps["backup/acme"].targets == ("nas", "box")  # type: ignore[attr-defined]
    assert steps["backup/beta"].state == "absent"  # type: ignore[attr-defined]
    sealed = next(file for file in steps["backup/acme"].files if file.path == "secrets.age")  # type: ignore[attr-defined]
    assert sealed.data() == (fleet.client("acme") / "secrets.age").read_bytes()
    assert "given-by-the-box" in wanted.mask
    assert "given-by-the-box" not in repr(stage)

    gone = converging.desired_of(loaded, "vps-1", without="acme")
    (stage,) = [stage for stage in gone.stages if stage.name == converging.BACKUP]
    steps = {step.name: step.spec for step in stage.steps}
    assert {name: spec.state for name, spec in steps.items()} == dict.fromkeys(  # type: ignore[attr-defined]
        ("backup/program", "backup/beta", "backup/acme"), "absent"
    )
    assert [step.name for step in converging._not_of_others(stage, "acme")] == ["backup/program", "backup/acme"]


def test_a_destroy_stops_the_backups_before_there_is_less_to_archive(
    fleet: Fleet, monkeypatch: pytest.MonkeyPatch
) -> None:
    """The first stage takes them off the host; the client's project goes last, and nobody else's step is among them."""
    for slug in ("acme", "beta"):
        secrets.mint(load(fleet), slug)
    secrets.set_given(fleet, "acme", "BACKUP_BOX_PASSWORD", "given-by-the-box")
    seen: list[Any] = []
    monkeypatch.setattr(converging, "converge", lambda _opener, wanted, *_: seen.append(wanted))
    converging.destroy(fleet, "acme", None)  # type: ignore[arg-type]
    names = [[step.name for step in stage.steps] for stage in seen[0].stages]
    assert names[0] == ["backup/program", "backup/acme"]
    assert "destroy/acme" in names[-1]
    assert not [name for each in names for name in each if name.endswith("/beta")]


def test_a_deploy_wants_the_credentials_that_only_a_person_can_tell(fleet: Fleet) -> None:
    """The hint is the command that takes it."""
    loaded = load(fleet)
    secrets.mint(loaded, "acme")
    with pytest.raises(Exception, match="acme has no BACKUP_BOX_PASSWORD yet") as caught:
        secrets.opened(loaded, "acme")
    assert getattr(caught.value, "hint", "") == "otobotctl secrets set acme BACKUP_BOX_PASSWORD"


def test_the_schema_knows_targets() -> None:
    """Editors complete what the models have."""
    schema = json.loads((data.data_dir("playbooks").parent / "clients-config.schema.json").read_text())
    assert set(schema["$defs"]["BackupTarget"]["properties"]) == {"repository", "append_only", "host_key", "region"}
