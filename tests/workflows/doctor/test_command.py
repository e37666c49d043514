"""`doctor` from the command line: whom it examines, what it says in words and in JSON, its exit codes, and --fix."""

from __future__ import annotations

import json
from dataclasses import replace

import pytest

from otobotctl.cli import main as cli
from otobotctl.errors import StepFailedError
from otobotctl.workflows.doctor import fixing, looking
from tests.doctor.sample import container, well
from tests.workflows.fleets import client, made


@pytest.fixture
def fleet(tmp_path, monkeypatch):
    """Two hosts, a client on each."""
    hosts = {"vps-1": {"address": "203.0.113.10"}, "vps-2": {"address": "203.0.113.11"}}
    clients = {"acme": client("acme", "vps-1"), "beta": client("beta", "vps-2")}
    return made(monkeypatch, tmp_path / "home", tmp_path / "fleet", hosts, clients)


@pytest.fixture
def wards(monkeypatch):
    """What is known of each host, in the place of asking it; and what was asked."""
    cases = {"vps-1": well(), "vps-2": well()}
    asked = []

    def case_of(_loaded, name, clients=(), _password=None):
        asked.append((name, tuple(clients)))
        return cases[name]

    monkeypatch.setattr(looking, "case_of", case_of)
    return cases, asked


def run(capsys, fleet, *words):
    capsys.readouterr()
    code = cli.main(["doctor", *words, "--json", "--fleet", str(fleet.root)])
    return code, json.loads(capsys.readouterr().out)


def ill(cases, name="vps-1"):
    """Redis of a host is down."""
    container(cases[name], "redis").update(state="exited")
    cases[name].facts["releases"]["acme"]["trouble"]["redis"] = "exited (1)"


def test_a_healthy_fleet_is_0(fleet, wards, capsys):
    """One envelope, every host, no finding; the screen says so."""
    code, told = run(capsys, fleet)
    assert (code, told["version"], told["command"], told["ok"]) == (0, 1, "doctor", True)
    assert [(host["host"], host["healthy"], host["findings"]) for host in told["data"]["hosts"]] == [
        ("vps-1", True, []),
        ("vps-2", True, []),
    ]
    assert cli.main(["doctor", "--fleet", str(fleet.root)]) == 0
    assert "2 hosts: nothing found" in capsys.readouterr().out


def test_findings_are_4_with_data_and_error(fleet, wards, capsys):
    """The worst first; each has a severity, what was seen, a remedy, and whether --fix knows a way."""
    cases, _ = wards
    ill(cases)
    cases["vps-1"].facts["reboot_required"] = True
    code, told = run(capsys, fleet)
    assert (code, told["ok"], told["error"]["code"]) == (4, False, 4)
    first, *others = told["data"]["hosts"][0]["findings"]
    assert first == {
        "severity": "critical",
        "check": "containers",
        "subject": "acme/redis",
        "seen": "is exited (1)",
        "remedy": "otobotctl logs acme redis",
        "fixable": True,
    }
    assert [each["severity"] for each in others] == ["info"]
    assert told["data"]["counts"] == {"critical": 1, "warning": 0, "info": 1}
    assert "--fix" in told["error"]["hint"]
    assert cli.main(["doctor", "--fleet", str(fleet.root)]) == 4
    assert "-> otobotctl logs acme redis  (--fix can)" in capsys.readouterr().out


def test_what_is_only_good_to_know_is_0(fleet, wards, capsys):
    """An info is no reason to wake anybody."""
    wards[0]["vps-1"].facts["reboot_required"] = True
    assert run(capsys, fleet)[0] == 0


def test_hosts_and_clients_by_name(fleet, wards, capsys):
    """A client is its host, looked at for it alone; a host that is named is looked at whole."""
    _, asked = wards
    run(capsys, fleet, "acme")
    run(capsys, fleet, "vps-2", "beta")
    assert asked == [("vps-1", ("acme",)), ("vps-2", ())]
    code, told = run(capsys, fleet, "gamma")
    assert (code, told["error"]["hint"]) == (2, "known are: vps-1, vps-2, acme, beta")
    assert run(capsys, fleet, "acme", "--all")[0] == 2


def test_a_fix_is_asked_for_made_and_looked_at_again(fleet, wards, capsys, monkeypatch):
    """Only hosts with something to fix are touched; without a yes nothing is."""
    cases, asked = wards
    ill(cases)
    done = []

    def fix(_loaded, name, wanted, _listener, _password=None):
        done.append((name, [each.title for each in wanted]))
        cases[name] = well()
        return tuple(fixing.Fixed(each.title) for each in wanted)

    monkeypatch.setattr(fixing, "fix", fix)
    assert run(capsys, fleet, "--fix")[0] == 2
    assert done == []
    asked.clear()
    code, told = run(capsys, fleet, "--fix", "--yes")
    assert (code, done) == (0, [("vps-1", ["restart acme/redis"])])
    assert told["data"]["hosts"][0]["fixed"] == [{"title": "restart acme/redis", "error": ""}]
    assert asked == [("vps-1", ()), ("vps-2", ()), ("vps-1", ())]


def test_a_fix_that_fails_costs_no_other(fleet, wards, monkeypatch):
    """Each is an apply of its own; causes come before what they cause."""
    from otobotctl.converge import engine
    from otobotctl.doctor.report import diagnose
    from otobotctl.workflows.desired import load

    cases, _ = wards
    ill(cases)
    case = cases["vps-1"]
    next(said for login, said in zip(case.wanted.logins, case.facts["logins"], strict=True) if login.holder == "tooljet").update(ok=False, said="no")  # fmt: skip
    case.facts["shield"]["enforced"] = False
    tried = []

    def converge(_opener, stages, **_):
        tried.append([step.name for stage in stages for step in stage.steps])
        if "redis" in tried[-1][0]:
            raise StepFailedError("redis does not start")

    monkeypatch.setattr(engine, "converge_host", converge)
    wanted = fixing.fixes(diagnose(case).findings)
    assert wanted[0].title == "set the passwords of acme's database roles"
    done = fixing.fix(load(fleet), "vps-1", wanted, None)
    assert len(tried) == len(wanted) == 3
    assert [each.error for each in done if each.error] == ["redis does not start"]


def test_a_change_that_could_shut_the_operator_out_is_proved_by_a_login(fleet, monkeypatch):
    """As in an apply."""
    from otobotctl.converge import engine
    from otobotctl.doctor.model import Fix
    from otobotctl.doctor.steps import service
    from otobotctl.workflows.desired import load

    stages = []
    monkeypatch.setattr(engine, "converge_host", lambda _o, given, **_: stages.extend(given))
    fixing.fix(load(fleet), "vps-1", [Fix("apply hardening/firewall", (service("ufw"),), login=True)], None)
    assert [stage.name for stage in stages] == ["doctor", "login"]


def test_a_host_that_cannot_be_asked_is_a_finding(fleet, wards, capsys):
    """And the others are examined all the same."""
    cases, _ = wards
    cases["vps-1"] = replace(well(), facts=None, unreachable="vps-1: no route", remedy="is it on?")
    code, told = run(capsys, fleet)
    assert code == 4
    assert [host["healthy"] for host in told["data"]["hosts"]] == [False, True]
    assert {"check": "docker", "why": "the host could not be asked"} in told["data"]["hosts"][0]["skipped"]
    cli.main(["doctor", "--fleet", str(fleet.root)])
    lines = [line for line in capsys.readouterr().out.splitlines() if "could not be asked" in line]
    assert len(lines) == 1
    assert lines[0].startswith("  not looked at: docker, containers, ")


def test_a_file_has_no_colours(fleet, wards, capsys, monkeypatch):
    """What stdout is decides about the answer's colours, whatever stderr is."""
    ill(wards[0])
    monkeypatch.setattr("sys.stderr.isatty", lambda: True)
    assert cli.main(["doctor", "--fleet", str(fleet.root)]) == 4
    assert "\x1b[" not in capsys.readouterr().out
    monkeypatch.setattr("sys.stdout.isatty", lambda: True)
    monkeypatch.delenv("NO_COLOR", raising=False)
    monkeypatch.setenv("TERM", "xterm")
    assert cli.main(["doctor", "--fleet", str(fleet.root)]) == 4
    assert "\x1b[31mcritical" in capsys.readouterr().out


def test_the_hardening_stages_need_no_secret(fleet):
    """Everything before the new login: packages, Docker, accounts, firewall, sshd; nothing of any client."""
    from otobotctl.workflows.desired import load

    stages = looking.hardening(load(fleet), "vps-1")
    steps = [step.name for stage in stages for step in stage.steps]
    assert {"base/packages", "docker/daemon", "hardening/firewall", "hardening/sshd"} <= set(steps)
    assert not [name for name in steps if name.startswith(("client-", "front", "login", "certificates"))]
