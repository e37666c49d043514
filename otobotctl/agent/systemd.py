"""What systemd says of a unit, and the words an operator needs when it does not do what it should."""

from __future__ import annotations

import time
from typing import Dict, List, Sequence

from otobotctl.agent.run import ProbeError, Run, StepError
from otobotctl.agent.shell import ask

JOURNAL_LINES = 20
SETTLE_S = 1.0  # a "simple" service counts as started before its program has read its configuration
POLL_S = 0.1


def show(unit: str, properties: Sequence[str]) -> Dict[str, str]:
    """The properties of a unit, by name; a unit that does not exist has LoadState "not-found".

    Raises:
        ProbeError: systemd does not run this host.
    """
    return show_all([unit], properties)[0]


def show_all(units: Sequence[str], properties: Sequence[str]) -> List[Dict[str, str]]:
    """The properties of each unit, in their order, by one systemctl. Raises ProbeError as `show`."""
    answer = ask(["systemctl", "show", "--property=" + ",".join(properties), "--", *units])
    if answer.status:
        raise ProbeError("systemctl show {}: {}".format(" ".join(units), (answer.stderr or answer.stdout).strip()))
    found = [parse_show(block) for block in answer.stdout.split("\n\n")]
    if len(found) != len(units):
        raise ProbeError("systemctl show {}: {} answers".format(" ".join(units), len(found)))
    return found


def parse_show(stdout: str) -> Dict[str, str]:
    """`systemctl show` prints NAME=VALUE lines, values unquoted."""
    pairs = (line.partition("=") for line in stdout.splitlines() if "=" in line)
    return {name: value for name, _, value in pairs}


def run_or_explain(run: Run, unit: str, verb: str) -> None:
    """`systemctl VERB UNIT`; when it fails, say the unit's status and its last journal lines. Raises StepError."""
    try:
        run.command(["systemctl", verb, "--", unit])
    except StepError as error:
        explain(run, unit)
        raise StepError("{} did not {}: {}".format(unit, verb, error)) from None


def settle(run: Run, unit: str) -> None:
    """Watch a unit that was just started for a moment. Raises StepError when it is not running any more."""
    until = time.monotonic() + SETTLE_S
    while time.monotonic() < until:
        found = show(unit, ["ActiveState", "SubState", "Type", "Result"])
        failed = found.get("ActiveState") == "failed" or found.get("SubState") == "auto-restart"
        if failed:
            explain(run, unit)
            raise StepError("{} stopped right after its start ({})".format(unit, found.get("Result") or "failed"))
        if found.get("Type") not in ("simple", "exec", "idle"):
            return  # it has told systemd itself that it is ready
        time.sleep(POLL_S)


def explain(run: Run, unit: str) -> None:
    """Say what `systemctl status` shows and the unit's last journal lines."""
    run.say("$ systemctl status {}".format(unit))
    _say(run, ["systemctl", "status", "--no-pager", "--full", "--lines=0", "--", unit])
    run.say("$ journalctl -u {}".format(unit))
    _say(
        run,
        ["journalctl", "--no-pager", "--quiet", "--lines={}".format(JOURNAL_LINES), "--output=cat", "--unit=" + unit],
    )


def _say(run: Run, argv: Sequence[str]) -> None:
    answer = ask(argv)
    for line in (answer.stdout + answer.stderr).splitlines():
        run.say(line)
