"""`otobotctl vault` where something is wrong: one message each, what to do next, the exit code, nothing left behind."""

from __future__ import annotations

import pytest

from otobotctl.cli import main as cli
from otobotctl.errors import HostUnreachableError, InterruptedRunError, StepFailedError
from otobotctl.workflows import converging
from otobotctl.workflows.vault import people, tokens
from otobotctl.workflows.vault.door import VaultDoor


def left(ask):
    """What is listed of the trials' users."""
    return [one["email"] for one in ask("user", "list", "acme", "--json").data if one["email"].startswith("smoke-")]


def test_smoke(ask, standin):
    """It says every step in words and in JSON, leaves nobody behind, and nothing of it is in an argument."""
    before = len(standin.host.executions)
    said = ask("smoke", "acme")
    assert said.code == 0, said.err
    assert said.out.count("ok  ") == 5
    assert len(standin.host.executions) - before == 6
    again = ask("smoke", "acme", "--json")
    assert len(again.data["steps"]) == 5
    assert left(ask) == []
    for name in ("N8N_INTERNAL_TOKEN", "VAULT_OPERATOR_TOKEN", "ENCRYPTION_MASTER_KEY", "AUDIT_HMAC_KEY"):
        assert standin.deployed["vault-api"][name] not in standin.argvs


@pytest.mark.parametrize("where", ["made and the answer lost", "refused", "interrupted"])
def test_smoke_leaves_nobody_behind(ask, monkeypatch, where):
    """Whatever fails: the user is erased, and the message says which step it was."""
    add, new = people.add, tokens.new

    def lost(*arguments):
        add(*arguments)
        raise StepFailedError("the line broke")

    def refused(user, _service, value, account):
        return new(user, "no-such-service", value, account)

    def interrupted(*_):
        raise InterruptedRunError("interrupted")

    if where == "made and the answer lost":
        monkeypatch.setattr(people, "add", lost)
    else:
        monkeypatch.setattr(tokens, "new", refused if where == "refused" else interrupted)
    said = ask("smoke", "acme")
    assert said.code == (130 if where == "interrupted" else 1)
    words = {"refused": "store a credential", "interrupted": "interrupted"}
    assert words.get(where, "the line broke") in said.err
    assert left(ask) == []


def test_smoke_clears_what_a_killed_one_left(ask):
    """A user of a trial that is long over goes; a person whose address only looks alike stays."""
    for email in ("smoke-1700000000-abc@otobotctl.invalid", "smoke-test@acme.example"):
        assert ask("user", "add", "acme", email).code == 0
    assert ask("smoke", "acme").code == 0
    assert left(ask) == ["smoke-test@acme.example"]
    assert ask("gdpr", "erase", "acme", "smoke-test@acme.example", "--yes").code == 0


def test_an_unknown_user_or_client(ask):
    """Exit codes 2 and 10, with the command that shows what there is."""
    for words in (("user", "reset"), ("user", "change"), ("gdpr", "export")):
        said = ask(*words, "acme", "nobody@acme.example")
        assert (said.code, "otobotctl vault user list acme" in said.err) == (2, True)
    assert ask("tokens", "other").code in {2, 10}


def test_a_host_that_is_gone(ask, standin, monkeypatch):
    """Exit code 13, also in --json."""

    def gone(_target):
        raise HostUnreachableError("vps-1: connection refused", hint="is it on?")

    monkeypatch.setattr(converging, "open_door", gone)
    for words in (("user", "list"), ("smoke",), ("audit", "verify"), ("rotate-key",)):
        said = ask(*words, "acme", "--json", "--yes")
        assert (said.code, said.error["code"], said.data) == (13, 13, None)


def test_a_vault_that_is_down(ask, standin):
    """Neither a dead process nor a missing container is a riddle: exit code 1 and what to do."""
    standin.stop()
    try:
        for words in (("user", "list"), ("tokens",), ("smoke",)):
            said = ask(*words, "acme")
            assert (said.code, said.out) == (1, "")
            assert "the vault does not answer on port" in said.err
            assert "otobotctl status vps-1" in said.err
        assert "Traceback" not in said.err
        env = standin.directory / "env.json"
        env.rename(env.with_suffix(".away"))
        said = ask("user", "list", "acme")
        assert (said.code, "does not run here" in said.err, "otobotctl client deploy acme" in said.err) == (
            1,
            True,
            True,
        )
        env.with_suffix(".away").rename(env)
    finally:
        standin.deploy()
    assert ask("user", "list", "acme").code == 0


def test_a_vault_that_died_between_two_requests(standin):
    """Fewer answers than requests are told as what they are."""
    vault = VaultDoor(standin.fleet, "acme")
    vault.run = lambda *_, **__: b'{"status": 200, "body": {}}\n'
    with pytest.raises(StepFailedError, match="did not answer"):
        vault.ask_all([("GET", "/health", None), ("GET", "/health", None)])


def test_a_client_without_a_vault(standin, capsys):
    """Usage, with what to add."""
    import json

    written = json.loads(standin.fleet.manifest.read_text())
    kept = standin.fleet.manifest.read_bytes()
    written["clients"]["acme"]["services"] = ["postgres"]
    standin.fleet.manifest.write_text(json.dumps(written))
    try:
        assert cli.main(["vault", "tokens", "acme", "--fleet", str(standin.fleet.root)]) == 2
        assert "vault-api" in capsys.readouterr().err
    finally:
        standin.fleet.manifest.write_bytes(kept)


def test_an_operator_may_ask_more_often_than_a_stranger(standin):
    """The limit of unknown callers, 100 in 15 minutes, does not stop a long audit or a company's list of people."""
    answers = VaultDoor(standin.fleet, "acme").ask_all([("GET", "/api/admin/client", None)] * 120)
    assert {answer["slug"] for answer in answers} == {"acme"}
