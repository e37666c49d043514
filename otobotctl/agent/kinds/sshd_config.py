"""sshd's settings, in a drop-in. A new one is on trial until a new login proves it."""

from __future__ import annotations

import os
import socket
import time
from typing import Any, Dict, Set

from otobotctl.agent import files, sshd, systemd, trial
from otobotctl.agent.run import ProbeError, Run, StepError
from otobotctl.agent.shell import NOT_FOUND, ask, has

TRIAL = "sshd"
UNIT = "ssh"
# Another file that overrides one of these leaves a door open; anything else that it overrides is the operator's taste.
STRICT = ("passwordauthentication", "kbdinteractiveauthentication", "permitemptypasswords", "permitrootlogin")
_CANDIDATE = "/run/otobot/sshd-candidate"
_LISTEN_S = 10.0


def probe(params: Dict[str, Any]) -> Dict[str, Any]:
    """Answer `installed` (there is an sshd), `content` (of the drop-in, or None), and of its trial: see trial.facts."""
    if not has("sshd"):
        return {"installed": False}
    try:
        data = files.read(params["path"])
        content = None if data is None else data.decode("utf-8", "replace")
    except FileNotFoundError:
        content = None
    except OSError as error:
        raise ProbeError("cannot read {}: {}".format(params["path"], error.strerror)) from error
    return dict(trial.facts(TRIAL), installed=True, content=content)


def apply(params: Dict[str, Any], run: Run) -> None:
    """Check the new settings, arm the way back, put them in force. Raises StepError; the old ones are then in force."""
    path, content = params["path"], params["content"]
    wanted = _check_alone(content, run)
    before = trial.facts(TRIAL)["restored"]
    if before:
        run.say("tried before and taken back at {}, because no new login came in time".format(before))
    running = not ask(["systemctl", "is-active", "--quiet", UNIT]).status
    trial.arm(TRIAL, params["trial_s"], _way_back(path, running), run, keeps=path)
    try:
        files.write(path, content.encode(), 0o644)
        _check_whole(wanted, run)
        if running:
            # Restarted rather than reloaded: systemd then says whether it runs and listens. Open sessions stay.
            systemd.run_or_explain(run, UNIT, "restart")
            _wait_until_it_listens()
        trial.loaded(TRIAL)
    except StepError as error:
        trial.take_back(TRIAL, run)
        raise StepError("{}; the settings before are in force".format(error)) from None


def _way_back(path: str, running: bool) -> str:
    beside = os.path.join(os.path.dirname(path), files.beside_name(os.path.basename(path)))
    put_back = "if [ -e previous ]; then install -m 0644 previous '{0}'; mv '{0}' '{1}'; else rm -f '{1}'; fi\nsync"
    # One that could not run with the new settings has failed, and may have reached its start limit.
    again = "\nsystemctl reset-failed {0} 2>/dev/null || true\nsystemctl restart {0}".format(UNIT) if running else ""
    return put_back.format(beside, path) + again


def _check_alone(content: str, run: Run) -> Dict[str, str]:
    """What sshd makes of the drop-in by itself: {keyword: its whole lines}, of the keywords it names."""
    os.makedirs("/run/sshd", mode=0o755, exist_ok=True)  # sshd -t wants it, also where sshd does not run at the moment
    files.write(_CANDIDATE, content.encode(), 0o600)
    effective = _ask_sshd(run, "-T", "-f", _CANDIDATE)
    os.unlink(_CANDIDATE)
    named = {line.split(None, 1)[0].lower() for line in content.splitlines() if line[:1].isalpha()}
    return {name: effective[name] for name in named if name in effective}


def _check_whole(wanted: Dict[str, str], run: Run) -> None:
    _ask_sshd(run, "-t")
    effective = _ask_sshd(run, "-T")
    overridden = sorted(name for name in wanted if effective.get(name) != wanted[name])
    for name in overridden:
        run.say("another file comes first: {}".format(effective.get(name, name + " is not set")))
    strict = [name for name in overridden if name in STRICT]
    if strict:
        raise StepError(
            "{} would not take effect: another file sets it first, or /etc/ssh/sshd_config lacks the line "
            "`Include /etc/ssh/sshd_config.d/*.conf`; find it with: grep -rniE 'include|{}' /etc/ssh".format(
                strict[0], strict[0]
            )
        )


def _ask_sshd(run: Run, *options: str) -> Dict[str, str]:
    """What `sshd -t` or `-T` says: {keyword: its lines}. Raises StepError with sshd's own words for an invalid file."""
    answer = ask(["sshd", *options])
    if answer.status:
        for line in answer.stderr.splitlines():
            run.say(line)
        said = answer.stderr.strip().splitlines()
        where = "sshd cannot be run" if answer.status == NOT_FOUND else "sshd refuses these settings"
        raise StepError("{}: {}".format(where, said[0] if said else "status {}".format(answer.status)))
    found: Dict[str, str] = {}
    for line in answer.stdout.splitlines():
        name = line.split(None, 1)[0].lower()
        found[name] = found.get(name, "") + line + "\n"
    return found


def _wait_until_it_listens() -> None:
    """Wait for sshd's greeting on any of its ports: a login that comes too early would be turned away."""
    deadline = time.monotonic() + _LISTEN_S
    while time.monotonic() < deadline:
        if any(_greets(address, port) for address, port in _addresses()):
            return
        time.sleep(0.05)
    raise StepError("sshd did not greet within {:.0f} s after its restart".format(_LISTEN_S))


def _addresses() -> Set[Any]:
    found = set()
    for line in ask(["sshd", "-T"]).stdout.splitlines():
        if line.startswith("listenaddress "):
            address, _, port = line.split()[1].rpartition(":")
            address = address.strip("[]").partition("%")[0]
            found.add(({"0.0.0.0": "127.0.0.1", "::": "::1"}.get(address, address), int(port)))
    return found | {("127.0.0.1", port) for port in sshd.ports()}


def _greets(address: str, port: int) -> bool:
    try:
        with socket.create_connection((address, port), timeout=2) as line:
            return line.recv(4) == b"SSH-"
    except OSError:
        return False
