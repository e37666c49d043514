"""One public key that may log in as a user.

The user owns the directory that root writes into here, so every name in it is opened without following symlinks and
relative to a directory that is already open: what the user swaps meanwhile leads nowhere.
"""

from __future__ import annotations

import contextlib
import os
import pwd
import stat
from typing import Any, Dict, Iterator, List, Optional, Tuple

from otobotctl.agent import files
from otobotctl.agent.run import ProbeError, Run, StepError

NAME = "authorized_keys"
LIMIT_BYTES = 1 << 20
MODE = 0o600
KEY_TYPES = ("ssh-", "ecdsa-", "sk-")


def probe(params: Dict[str, Any]) -> Dict[str, Any]:
    """Facts: `present`, `options` (of the key on the host), `_private` (file and folder are the user's alone)."""
    facts = {"present": False, "options": None, "_private": True}
    try:
        user = pwd.getpwnam(params["user"])
    except KeyError:
        return facts
    try:
        with _ssh_folder(user) as folder:
            if folder is None:
                return facts
            text, status = _read(folder, user)
    except (OSError, StepError) as error:
        raise ProbeError(_refused(user, error)) from error
    options = find(text, blob_of(params["key"]))
    private = status is None or not _loose(status, user)
    return {"present": options is not None, "options": options or None, "_private": private}


def apply(params: Dict[str, Any], run: Run) -> None:
    """Add, replace or take away this one key; every other line stays as it is."""
    absent = params.get("state") == "absent"
    try:
        user = pwd.getpwnam(params["user"])
    except KeyError:
        if absent:
            return
        raise StepError("there is no user {}; add a user step before this one".format(params["user"])) from None
    try:
        with _ssh_folder(user, make=not absent) as folder:
            if folder is None:
                return
            text, status = _read(folder, user)
            wanted = without(text, params["key"]) if absent else edited(text, params["key"])
            if wanted != text or (status is not None and _loose(status, user)):
                ids = (user.pw_uid, user.pw_gid)
                files.replace_at(folder, NAME, wanted.encode("utf-8", "surrogateescape"), MODE, ids)
                run.say("wrote the authorized keys of {}".format(user.pw_name))
    except OSError as error:
        raise StepError(_refused(user, error)) from error


def lines_of(user: pwd.struct_passwd) -> List[str]:
    """The keys that may log in as the user, each as it is written, without comments. Raises ProbeError."""
    try:
        with _ssh_folder(user) as folder:
            text = "" if folder is None else _read(folder, user)[0]
    except (OSError, StepError) as error:
        raise ProbeError(_refused(user, error)) from error
    return [line.strip() for line in _lines(text) if blob_of(line)]


def write_lines(user: pwd.struct_passwd, keys: List[str], run: Run) -> None:
    """Make these the user's keys, and all of them. Raises StepError."""
    try:
        with _ssh_folder(user, make=True) as folder:
            if folder is not None:
                _read(folder, user)  # refuses what is not the user's own file
                data = "".join(key + "\n" for key in keys).encode("utf-8", "surrogateescape")
                files.replace_at(folder, NAME, data, MODE, (user.pw_uid, user.pw_gid))
                run.say("wrote the authorized keys of {}".format(user.pw_name))
    except OSError as error:
        raise StepError(_refused(user, error)) from error


def split(line: str) -> Tuple[str, str]:
    """The options and the key blob of one line; ("", "") for a comment or anything else."""
    text = line.strip()
    if not text or text.startswith("#"):
        return "", ""
    start, quoted = 0, False
    for place, letter in enumerate(text + " "):
        if letter == '"' and (place == 0 or text[place - 1] != "\\"):
            quoted = not quoted
        elif letter in " \t" and not quoted:
            if text[start:place].startswith(KEY_TYPES):
                return text[:start].strip(), (text[place:].split() or [""])[0]
            start = place + 1
    return "", ""


def blob_of(key: str) -> str:
    """What makes two lines the same key, whatever their options and comment."""
    return split(key)[1]


def find(text: str, blob: str) -> Optional[str]:
    """The options ("" for none) of the line that holds `blob`; None when no line does."""
    for line in text.split("\n"):
        options, found = split(line)
        if found == blob:
            return options
    return None


def edited(text: str, key: str) -> str:
    """`text` with `key` in it once. A line that has the key keeps its options unless `key` brings its own."""
    options, blob = split(key)
    kept: List[str] = []
    placed = False
    for line in _lines(text):
        there, found = split(line)
        if found != blob:
            kept.append(line)
        elif not placed:
            kept.append(key if options and options != there else line)
            placed = True
    kept += [] if placed else [key]
    return text if kept == _lines(text) else "".join(line + "\n" for line in kept)


def without(text: str, key: str) -> str:
    """`text` without the lines that hold `key`."""
    lines = _lines(text)
    kept = [line for line in lines if split(line)[1] != blob_of(key)]
    return text if kept == lines else "".join(line + "\n" for line in kept)


def _lines(text: str) -> List[str]:
    return text[:-1].split("\n") if text.endswith("\n") else (text.split("\n") if text else [])


@contextlib.contextmanager
def _ssh_folder(user: pwd.struct_passwd, make: bool = False) -> Iterator[Optional[int]]:
    """The open ~/.ssh, or None when it is not there. Raises StepError or OSError when it is not a plain directory."""
    if not os.path.isdir(user.pw_dir):
        if make:
            raise StepError("{} has no home directory {}".format(user.pw_name, user.pw_dir))
        yield None
        return
    flags = os.O_RDONLY | os.O_DIRECTORY | os.O_NOFOLLOW | os.O_CLOEXEC
    with files.open_folder(user.pw_dir) as home:
        made = make and _make(home)
        try:
            folder = os.open(".ssh", flags, dir_fd=home)
        except FileNotFoundError:
            yield None
            return
        try:
            status = os.fstat(folder)
            if status.st_uid not in (0, user.pw_uid):
                raise StepError("{}/.ssh belongs to somebody else".format(user.pw_dir))
            if made:
                os.fchown(folder, user.pw_uid, user.pw_gid)
            yield folder
        finally:
            os.close(folder)


def _make(home: int) -> bool:
    try:
        os.mkdir(".ssh", 0o700, dir_fd=home)
    except FileExistsError:
        return False
    return True


def _read(folder: int, user: pwd.struct_passwd) -> Tuple[str, Optional[os.stat_result]]:
    try:
        with files.open_regular(NAME, folder) as descriptor:
            status = os.fstat(descriptor)
            # A hard link to somebody else's file would hand its content to the user.
            if status.st_nlink != 1 or status.st_uid not in (0, user.pw_uid):
                raise StepError("{}/.ssh/{} is not the user's own file".format(user.pw_dir, NAME))
            with os.fdopen(os.dup(descriptor), "rb") as stream:
                data = stream.read(LIMIT_BYTES + 1)
    except FileNotFoundError:
        return "", None
    if len(data) > LIMIT_BYTES:
        raise StepError("{}/.ssh/{} is larger than 1 MiB".format(user.pw_dir, NAME))
    return data.decode("utf-8", "surrogateescape"), status


def _loose(status: os.stat_result, user: pwd.struct_passwd) -> bool:
    return stat.S_IMODE(status.st_mode) != MODE or status.st_uid != user.pw_uid


def _refused(user: pwd.struct_passwd, error: Exception) -> str:
    reason = str(error) if isinstance(error, StepError) else getattr(error, "strerror", None) or str(error)
    return "refused to touch {}/.ssh/{}: {}; it must be a plain file in a plain directory".format(
        user.pw_dir, NAME, reason
    )
