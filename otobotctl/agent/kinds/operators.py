"""The people who may log in as themselves: an account each, its keys, its sudo, and the end of it all when one leaves.

`RECORD` names the accounts that this kind has made, from before each was made. Only those are ever changed or shut, and
never root nor the one that the apply itself logs in as.
"""

from __future__ import annotations

import json
import os
import pwd
import signal
import time
from typing import Any, Dict, List, Optional

from otobotctl.agent import files
from otobotctl.agent.kinds import authorized_key, user
from otobotctl.agent.run import ProbeError, Run, StepError
from otobotctl.agent.shell import ask, has

RECORD = "/etc/otobot/operators.json"
SUDOERS = "/etc/sudoers.d/otobot-operators"
SHUT = "1"  # the day after 1970-01-01: no way in, whatever the key or password
LOGOUT_S = 10

Record = Dict[str, Optional[int]]


def probe(params: Dict[str, Any]) -> Dict[str, Any]:
    """Facts: `sudoers` (None: no file) and, by name, the `accounts` asked for and those ever made.

    An account: `exists`, `made` (by this kind), `shut`, `locked` (no password gets in), `keys` (lines; None: what
    stands there cannot be read as such).
    """
    record = _record()
    names = sorted({*params["names"], params["login"], *record})
    return {"sudoers": _text(SUDOERS), "accounts": {name: _account(name, record) for name in names}}


def apply(params: Dict[str, Any], run: Run) -> None:
    """Shut who left, then make and open the others, then give sudo. A broken sudoers file is never put in place."""
    record, wanted = _record(), {operator["name"]: operator for operator in params["operators"]}
    login = params["login"]
    foreign = [name for name in wanted if _exists(name) and not _made(name, record) and name != login]
    if foreign:
        text = "the account {} is there already and otobotctl did not make it; give the operator another name"
        raise StepError(text.format(" and ".join(foreign)))
    for name in sorted(record):
        if name not in wanted and _made(name, record) and not _is_login(name, login):
            _shut(name, run)
    for name, operator in wanted.items():
        _open(name, operator["keys"], record, login, run)
    # Without its sudo, the account that applies could not apply again.
    _sudo(params["sudoers_with_login" if _made(login, record) else "sudoers"], run)


def _account(name: str, record: Record) -> Dict[str, Any]:
    if not _exists(name):
        return {"exists": False, "made": False, "shut": False, "locked": True, "keys": []}
    return {
        "exists": True,
        "made": _made(name, record),
        "shut": _field(name, 7) == SHUT,
        "locked": user.locked(name) is not False,
        "keys": _keys(pwd.getpwnam(name)),
    }


def _keys(found: pwd.struct_passwd) -> Optional[List[str]]:
    """What somebody did to his own folder must not keep others from being looked at."""
    try:
        return authorized_key.lines_of(found)
    except ProbeError:
        return None


def _exists(name: str) -> bool:
    try:
        pwd.getpwnam(name)
    except KeyError:
        return False
    return True


def _made(name: str, record: Record) -> bool:
    """Whether the account of this name is the one that was made here, and not another that took its name since."""
    return name in record and _exists(name) and record[name] in (None, pwd.getpwnam(name).pw_uid)


def _is_login(name: str, login: str) -> bool:
    uid = pwd.getpwnam(name).pw_uid
    return name == login or uid == 0 or (_exists(login) and pwd.getpwnam(login).pw_uid == uid)


def _open(name: str, keys: List[str], record: Record, login: str, run: Run) -> None:
    if not _exists(name):
        record[name] = None
        _remember(record)
        user.add({"name": name, "shell": "/bin/bash"}, run)
    found = pwd.getpwnam(name)
    if name in record and record[name] != found.pw_uid:
        record[name] = found.pw_uid
        _remember(record)
    if _made(name, record):
        if _field(name, 7) == SHUT:
            run.command(["/usr/sbin/usermod", "--expiredate", "", name])
        if user.locked(name) is False:
            run.command(["/usr/sbin/usermod", "--lock", name])
    there = authorized_key.lines_of(found)
    # Of the account that this very apply came in by, no key is taken away.
    kept = [line for line in there if line not in keys] if _is_login(name, login) else []
    if there != [*kept, *keys] and (not kept or set(there) != {*kept, *keys}):
        authorized_key.write_lines(found, [*kept, *keys], run)


def _shut(name: str, run: Run) -> None:
    """Take the keys, lock the account and end what it runs. The home stays."""
    found = pwd.getpwnam(name)
    if _field(name, 7) != SHUT or user.locked(name) is False:
        run.command(["/usr/sbin/usermod", "--lock", "--expiredate", SHUT, name])
    if _keys(found):
        authorized_key.write_lines(found, [], run)
    _end_sessions(found, run)


def _end_sessions(found: pwd.struct_passwd, run: Run) -> None:
    """Log the account out: sessions with all that is in them, also as root, and then whatever else it runs."""
    if has("loginctl") and user.processes(found.pw_uid):
        ask(["loginctl", "terminate-user", found.pw_name])
    until = time.monotonic() + LOGOUT_S
    while user.processes(found.pw_uid):
        if time.monotonic() > until:
            for number in user.numbers(found.pw_uid):
                run.say("killing process {} of {}".format(number, found.pw_name))
                _kill(number)
            return
        time.sleep(0.2)


def _kill(number: int) -> None:
    try:
        os.kill(number, signal.SIGKILL)
    except ProcessLookupError:
        return


def _sudo(text: str, run: Run) -> None:
    if not text:
        if os.path.lexists(SUDOERS):
            files.remove(SUDOERS)
            run.say("removed {}".format(SUDOERS))
        return
    if _text(SUDOERS) == text:
        return
    candidate = os.path.join(os.path.dirname(RECORD), "sudoers.new")
    files.write(candidate, text.encode(), mode=0o440)
    try:
        run.command(["/usr/sbin/visudo", "--check", "--quiet", "--file={}".format(candidate)])
    finally:
        files.remove(candidate)
    files.write(SUDOERS, text.encode(), mode=0o440)
    run.say("wrote {}".format(SUDOERS))


def _record() -> Record:
    """The accounts that were made here, each with its number (None: it was about to be made)."""
    text = _text(RECORD)
    if text is None:
        return {}
    try:
        return {str(name): uid for name, uid in json.loads(text).items()}
    except (ValueError, AttributeError) as error:
        raise ProbeError("{} is damaged: {}; put it right by hand".format(RECORD, error)) from error


def _remember(record: Record) -> None:
    os.makedirs(os.path.dirname(RECORD), mode=0o700, exist_ok=True)
    files.write(RECORD, (json.dumps(record, sort_keys=True) + "\n").encode())


def _field(name: str, number: int) -> str:
    """One field of the account's line in the shadow file; "" where there is none."""
    try:
        with open(user.SHADOW, encoding="utf-8", errors="replace") as stream:
            for line in stream:
                fields = line.rstrip("\n").split(":")
                if fields[0] == name and len(fields) > number:
                    return fields[number]
    except OSError as error:
        raise ProbeError("cannot read {}: {}; the agent needs root".format(user.SHADOW, error.strerror)) from error
    return ""


def _text(path: str) -> Optional[str]:
    try:
        with open(path, encoding="utf-8", errors="replace") as stream:
            return stream.read()
    except FileNotFoundError:
        return None
    except OSError as error:
        raise ProbeError("cannot read {}: {}".format(path, error.strerror)) from error
