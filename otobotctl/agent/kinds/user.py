"""One user of the host. Homes and passwords are never deleted, moved or set."""

from __future__ import annotations

import grp
import os
import pwd
import time
from typing import Any, Dict, List, Optional

from otobotctl.agent.run import ProbeError, Run, StepError

SHADOW = "/etc/shadow"
LOGOUT_S = 60


def probe(params: Dict[str, Any]) -> Dict[str, Any]:
    """Facts: exists, shell, home, groups (sorted names, the primary one too), locked (None: no password is kept)."""
    try:
        found = pwd.getpwnam(params["name"])
    except KeyError:
        return {"exists": False}
    groups = {group.gr_name for group in grp.getgrall() if found.pw_name in group.gr_mem}
    try:
        groups.add(grp.getgrgid(found.pw_gid).gr_name)
    except KeyError:
        groups.add(str(found.pw_gid))
    return {
        "exists": True,
        "shell": found.pw_shell,
        "home": found.pw_dir,
        "groups": sorted(groups),
        "locked": locked(found.pw_name),
    }


def locked(name: str, shadow: str = SHADOW) -> Optional[bool]:
    """Whether no password can log this user in; None when the shadow file does not know the user."""
    try:
        with open(shadow, encoding="utf-8", errors="replace") as stream:
            for line in stream:
                fields = line.split(":")
                if fields[0] == name and len(fields) > 1:
                    return fields[1].startswith(("!", "*"))
    except FileNotFoundError:
        return None
    except OSError as error:
        raise ProbeError("cannot read {}: {}; the agent needs root".format(shadow, error.strerror)) from error
    return None


def apply(params: Dict[str, Any], run: Run) -> None:
    """Add the user or change what differs; delete the user but not the home."""
    name, found = params["name"], probe(params)
    if params.get("state") == "absent":
        if found["exists"]:
            _wait_for_logout(name, run)
            run.command(["/usr/sbin/userdel", name])
        return
    _require_groups(params.get("groups", []))
    if not found["exists"]:
        add(params, run)
        return
    changes = _changes(params, found)
    if changes:
        run.command(["/usr/sbin/usermod", *changes, name])


def _wait_for_logout(name: str, run: Run) -> None:
    """Users who run anything cannot be deleted, and a session's manager stays for 10 s after the last logout."""
    uid = pwd.getpwnam(name).pw_uid
    until = time.monotonic() + LOGOUT_S
    running = processes(uid)
    if running and uid:
        run.say("waiting for {} to log out: {}".format(name, ", ".join(running)))
    while running and uid:
        if time.monotonic() > until:
            text = "{} still runs {}; end that with `loginctl terminate-user {}`"
            raise StepError(text.format(name, ", ".join(running), name))
        time.sleep(0.5)
        running = processes(uid)


def processes(uid: int, proc: str = "/proc") -> List[str]:
    """The names of what a user runs, such as "bash (4711)"."""
    named = ((number, _name(uid, os.path.join(proc, number))) for number in os.listdir(proc) if number.isdigit())
    return ["{} ({})".format(name, number) for number, name in named if name is not None]


def numbers(uid: int, proc: str = "/proc") -> List[int]:
    """The numbers of what a user runs."""
    found = (number for number in os.listdir(proc) if number.isdigit())
    return [int(number) for number in found if _name(uid, os.path.join(proc, number)) is not None]


def _name(uid: int, process: str) -> Optional[str]:
    """The short name of a process; None when it is another user's or has ended meanwhile."""
    try:
        if os.stat(process).st_uid != uid:
            return None
        with open(os.path.join(process, "comm"), encoding="utf-8", errors="replace") as stream:
            return stream.read().strip()
    except OSError:
        return None


def _require_groups(names: List[str]) -> None:
    known = {group.gr_name for group in grp.getgrall()}
    missing = [name for name in names if name not in known]
    if missing:
        raise StepError("there is no group {}; add a group step before this one".format(", ".join(missing)))


def add(params: Dict[str, Any], run: Run) -> None:
    """Make the user."""
    name, system = params["name"], params.get("system")
    argv = ["/usr/sbin/useradd"]
    argv += ["--system", "--no-create-home"] if system else ["--create-home"]
    argv += ["--shell", params.get("shell") or ("/usr/sbin/nologin" if system else "/bin/bash")]
    if params.get("home"):
        argv += ["--home-dir", params["home"]]
    if params.get("groups"):
        argv += ["--groups", ",".join(params["groups"])]
    # useradd refuses to make the user's own group when a group step has made it already.
    argv += ["--gid", name] if _is_group(name) else ["--user-group"]
    run.command([*argv, name])


def _is_group(name: str) -> bool:
    try:
        grp.getgrnam(name)
    except KeyError:
        return False
    return True


def _changes(params: Dict[str, Any], found: Dict[str, Any]) -> List[str]:
    changes: List[str] = []
    missing = [name for name in params.get("groups", []) if name not in found["groups"]]
    if missing:
        changes += ["--append", "--groups", ",".join(missing)]
    if params.get("shell") and params["shell"] != found["shell"]:
        if not os.path.exists(params["shell"]):
            raise StepError("there is no shell {}; install it in a step before this one".format(params["shell"]))
        changes += ["--shell", params["shell"]]
    if params.get("home") and params["home"] != found["home"]:
        changes += ["--home", params["home"]]  # without --move-home: what is in the old one stays there
    if params.get("password_locked") and found["locked"] is False:
        changes += ["--lock"]
    return changes
