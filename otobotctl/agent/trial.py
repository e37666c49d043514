"""Changes that could lock the operator out are on trial: the host takes them back unless a new login proves them.

Each trial is a directory of root's, with a timer that survives a reboot (it then begins to count again). Which of the
two ends it, the timer's script or the login, is decided by who renames the file `armed` first.
"""

from __future__ import annotations

import contextlib
import os
import shutil
import time
from typing import Any, Dict, List, Optional

from otobotctl.agent import files, protocol, sshd
from otobotctl.agent.places import boot_id
from otobotctl.agent.run import ProbeError, Run, StepError

STATE = protocol.STATE_DIR + "/trials"
UNITS = "/etc/systemd/system"
_PATIENCE_S = 30

_SCRIPT = """#!/bin/sh
# Written by otobotctl: no new login proved this change in time, so what was before comes back.
cd {folder} || exit 0
mv armed restoring 2>/dev/null
[ -e restoring ] || exit 0
set -e
{body}
date -u +%Y-%m-%dT%H:%M:%SZ > restored
sync
rm -f restoring loaded
"""
_SERVICE = """[Unit]
Description=otobotctl takes back {name}: no new login proved it
StartLimitIntervalSec=0

[Service]
Type=oneshot
ExecStart=/bin/sh {folder}/restore
Restart=on-failure
RestartSec=5
"""
_TIMER = """[Unit]
Description=otobotctl waits for a new login to prove {name}

[Timer]
OnActiveSec={delay_s}
AccuracySec=100ms

[Install]
WantedBy=timers.target
"""


def facts(name: str) -> Dict[str, Any]:
    """Answer `armed` (on trial now), `loaded` (in force since) and `restored` (when it was taken back, or "")."""
    restored = _text(name, "restored").strip()
    if os.path.exists(_path(name, "restoring")):
        restored = "this moment"
    return {
        "armed": os.path.exists(_path(name, "armed")),
        "loaded": bool(_text(name, "loaded")),
        "restored": restored,
    }


def names() -> List[str]:
    """The trials that wait for a login or have waited in vain."""
    try:
        return sorted(os.listdir(STATE))
    except FileNotFoundError:
        return []


def arm(name: str, delay_s: int, body: str, run: Run, keeps: Optional[str] = None) -> None:
    """Let the host run `body` (shell) in `delay_s` seconds, at the latest, unless `confirm` comes first.

    `keeps` is a file whose content of now the body finds as `previous` in its directory, if there is one. A trial
    that is on already goes on, its time begins anew, and `previous` stays what it was.
    """
    folder = os.path.join(STATE, name)
    os.makedirs(folder, mode=0o700, exist_ok=True)
    os.chmod(STATE, 0o700)
    _wait_for_what_is_taken_back(name)
    if not facts(name)["armed"]:
        _forget(name, "restored", "previous")
        if keeps is not None and os.path.lexists(keeps):
            files.write(_path(name, "previous"), files.read(keeps) or b"", 0o600)
    _forget(name, "loaded")
    files.write(_path(name, "restore"), _SCRIPT.format(folder=folder, body=body).encode(), 0o700)
    for suffix, text in (("service", _SERVICE), ("timer", _TIMER)):
        unit = text.format(name=name, folder=folder, delay_s=delay_s).encode()
        files.write("{}/{}.{}".format(UNITS, _unit(name), suffix), unit, 0o644)
    run.command(["systemctl", "daemon-reload"])
    run.command(["systemctl", "enable", "--quiet", _unit(name) + ".timer"])
    files.write(_path(name, "armed"), b"", 0o600)
    run.command(["systemctl", "restart", _unit(name) + ".timer"])
    run.say("{}: taken back in {} s unless a new login proves it".format(name, delay_s))


def _wait_for_what_is_taken_back(name: str) -> None:
    """Let the timer's script end. Raises StepError: it does not, and would put its file over what is set now."""
    for _ in range(_PATIENCE_S * 5):
        if not os.path.exists(_path(name, "restoring")):
            return
        time.sleep(0.2)
    raise StepError("{} is being taken back at this moment; run the same command again".format(name))


def loaded(name: str) -> None:
    """Note that what is on trial is in force from now on: a login that begins later proves it.

    Raises:
        StepError: it has been taken back already, perhaps before all of it was made: `take_back` makes sure.
    """
    if not facts(name)["armed"]:
        raise StepError("the change to {} took longer than the time it is on trial for".format(name))
    files.write(_path(name, "loaded"), "{} {}\n".format(boot_id(), _now()).encode(), 0o600)


def take_back(name: str, run: Run) -> None:
    """Do at once what the timer would do, once more if it has already, and forget the trial."""
    files.write(_path(name, "armed"), b"", 0o600)
    run.command(["/bin/sh", _path(name, "restore")])
    _dismantle(name, run)
    shutil.rmtree(os.path.join(STATE, name))


def confirm(name: str, run: Run) -> None:
    """Keep the change. Raises StepError when this login is no proof, or when the change has been taken back."""
    state = facts(name)
    if state["armed"] and not _proved(name):
        raise StepError("this login is older than the change to {}; run the same command again".format(name))
    try:
        os.rename(_path(name, "armed"), _path(name, "kept"))
    except FileNotFoundError:
        raise StepError(
            "{} was taken back at {}: no new login came in time; what was before is in force again. Check that the "
            "host can be reached with the new settings, then run the same command again".format(
                name, facts(name)["restored"] or "an unknown time"
            )
        ) from None
    _dismantle(name, run)
    shutil.rmtree(os.path.join(STATE, name))
    run.say("{}: proved by a new login, kept".format(name))


def _dismantle(name: str, run: Run) -> None:
    run.command(["systemctl", "disable", "--quiet", "--now", _unit(name) + ".timer"])
    for suffix in ("timer", "service"):
        with contextlib.suppress(FileNotFoundError):
            os.unlink("{}/{}.{}".format(UNITS, _unit(name), suffix))
    run.command(["systemctl", "daemon-reload"])


def _proved(name: str) -> bool:
    """Whether this process came in by a login that is younger than the change; without SSH there is none to prove."""
    begun = sshd.login_began()
    if begun is None:
        return True
    boot, _, since = _text(name, "loaded").strip().partition(" ")
    return bool(boot) and (boot != boot_id() or begun > float(since))


def _now() -> float:
    return time.clock_gettime(getattr(time, "CLOCK_BOOTTIME", time.CLOCK_MONOTONIC))


def _unit(name: str) -> str:
    return "otobot-trial-" + name


def _path(name: str, part: str) -> str:
    return os.path.join(STATE, name, part)


def _text(name: str, part: str) -> str:
    try:
        return (files.read(_path(name, part)) or b"").decode("ascii", "replace")
    except FileNotFoundError:
        return ""
    except OSError as error:
        raise ProbeError("cannot read {}: {}".format(_path(name, part), error.strerror)) from error


def _forget(name: str, *parts: str) -> None:
    for part in parts:
        with contextlib.suppress(FileNotFoundError):
            os.unlink(_path(name, part))
