"""Looking at files, and replacing them so that a reader, a crash or a full disk sees the old content or the new one."""

from __future__ import annotations

import grp
import os
import pwd
import stat
from typing import Any, Dict, Optional, Tuple

from otobotctl.agent.run import ProbeError, StepError

_CHUNK = 1 << 20
_NAME_MAX = 255
_SUFFIX = ".otobot"


def describe(path: str) -> Dict[str, Any]:
    """Say what stands at `path` itself (a symlink is not followed).

    `type` is absent, file, directory, symlink or other; unless absent, `mode` ("0644"), `owner` and `group` by name.
    """
    try:
        status = os.lstat(path)
    except (FileNotFoundError, NotADirectoryError):
        return {"type": "absent"}
    except OSError as error:
        raise ProbeError("cannot look at {}: {}".format(path, error.strerror)) from error
    return dict(describe_status(status), type=type_of(status))


def describe_status(status: os.stat_result) -> Dict[str, str]:
    """Mode, owner and group as the plan writes them: octal text and names (the number where a name is missing)."""
    return {
        "mode": "{:04o}".format(stat.S_IMODE(status.st_mode)),
        "owner": user_name(status.st_uid),
        "group": group_name(status.st_gid),
    }


def type_of(status: os.stat_result) -> str:
    """One of file, directory, symlink, other."""
    if stat.S_ISREG(status.st_mode):
        return "file"
    if stat.S_ISDIR(status.st_mode):
        return "directory"
    return "symlink" if stat.S_ISLNK(status.st_mode) else "other"


def user_name(uid: int) -> str:
    """The user's name, or the number when nobody has it."""
    try:
        return pwd.getpwuid(uid).pw_name
    except KeyError:
        return str(uid)


def group_name(gid: int) -> str:
    """The group's name, or the number when no group has it."""
    try:
        return grp.getgrgid(gid).gr_name
    except KeyError:
        return str(gid)


def uid_of(name: str) -> int:
    """The number of a user given by name or decimal number. Raises StepError when there is no such user."""
    try:
        return pwd.getpwnam(name).pw_uid
    except KeyError:
        if name.isdigit():
            return int(name)
        raise StepError("there is no user {}; add a user step before this one".format(name)) from None


def gid_of(name: str) -> int:
    """The number of a group given by name or decimal number. Raises StepError when there is no such group."""
    try:
        return grp.getgrnam(name).gr_gid
    except KeyError:
        if name.isdigit():
            return int(name)
        raise StepError("there is no group {}; add a group step before this one".format(name)) from None


def me() -> Tuple[str, str]:
    """The user and group that the agent runs as: root and root, but in its tests."""
    return user_name(os.geteuid()), group_name(os.getegid())


def digest(path: str) -> str:
    """The SHA-256 of a regular file, in hex. Raises ProbeError when it cannot be read, OSError never."""
    from otobotctl.agent.sums import sha256

    try:
        with open_regular(path) as descriptor:
            found = sha256(size_bytes=os.fstat(descriptor).st_size)
            while True:
                chunk = os.read(descriptor, _CHUNK)
                if not chunk:
                    return str(found.hexdigest())
                found.update(chunk)
    except OSError as error:
        raise ProbeError("cannot read {}: {}".format(path, error.strerror)) from error


def read(path: str, limit_bytes: int = _CHUNK, folder: Optional[int] = None) -> Optional[bytes]:
    """The content of a regular file; None when it is longer than `limit_bytes`. Raises OSError."""
    with open_regular(path, folder) as descriptor, os.fdopen(os.dup(descriptor), "rb") as stream:
        data = stream.read(limit_bytes + 1)
    return data if len(data) <= limit_bytes else None


def text(path: str) -> Optional[str]:
    """The content of a regular file, what is no UTF-8 in it replaced; None: it is absent, unreadable or very long."""
    try:
        data = read(path)
    except OSError:
        return None
    return None if data is None else data.decode("utf-8", "replace")


class Opened:
    """A descriptor for `with`, which closes it."""

    def __init__(self, descriptor: int) -> None:
        self._descriptor = descriptor

    def __enter__(self) -> int:
        return self._descriptor

    def __exit__(self, *_: object) -> None:
        os.close(self._descriptor)


def open_regular(path: str, folder: Optional[int] = None) -> Opened:
    """A descriptor for reading a regular file that is no symlink. Raises OSError, also for other types."""
    # O_NONBLOCK: opening a FIFO that somebody put there must not hang the agent.
    flags = os.O_RDONLY | os.O_NOFOLLOW | os.O_NONBLOCK | os.O_CLOEXEC
    descriptor = os.open(path, flags, dir_fd=folder)
    if not stat.S_ISREG(os.fstat(descriptor).st_mode):
        os.close(descriptor)
        raise OSError(0, "not a regular file", path)
    return Opened(descriptor)


def open_folder(path: str) -> Opened:
    """A descriptor of the directory `path`. Raises StepError that says what to do when it is missing."""
    try:
        folder = os.open(path, os.O_RDONLY | os.O_DIRECTORY | os.O_CLOEXEC)
    except (FileNotFoundError, NotADirectoryError) as error:
        text = "the directory {} does not exist; add a directory step before this one".format(path)
        raise StepError(text) from error
    except OSError as error:
        raise StepError("cannot open the directory {}: {}".format(path, error.strerror)) from error
    return Opened(folder)


def write(path: str, data: bytes, mode: int = 0o600, owner: str = "root", group: str = "root") -> None:
    """Replace `path` durably with `data`. The caller holds the host's lock.

    Whatever stood there as a file or symlink is replaced; a directory is refused. Raises StepError; the old content
    is then still there and nothing is left beside it.
    """
    ids = (uid_of(owner), gid_of(group))
    with open_folder(os.path.dirname(path)) as folder:
        try:
            replace_at(folder, os.path.basename(path), data, mode, ids)
        except OSError as error:
            text = "cannot write {}: {}; what was there is unchanged".format(path, error.strerror)
            raise StepError(text) from error


def replace_at(folder: int, name: str, data: bytes, mode: int, ids: Tuple[int, int]) -> None:
    """Replace `name` inside an open directory, for `ids` (user, group); 0600 from its first byte. Raises OSError."""
    beside = beside_name(name)
    _drop(folder, beside)  # what a killed run left; O_EXCL below refuses anything put there since
    flags = os.O_WRONLY | os.O_CREAT | os.O_EXCL | os.O_NOFOLLOW | os.O_CLOEXEC
    descriptor = os.open(beside, flags, 0o600, dir_fd=folder)
    try:
        with os.fdopen(descriptor, "wb") as stream:
            stream.write(data)
            stream.flush()
            set_attributes(stream.fileno(), mode, ids)
            os.fsync(stream.fileno())
        os.replace(beside, name, src_dir_fd=folder, dst_dir_fd=folder)
    except BaseException:
        _drop(folder, beside)
        raise
    os.fsync(folder)


def beside_name(name: str) -> str:
    """The one hidden name that a replacement of `name` is prepared under, so that a rerun clears what a kill left."""
    kept = name.encode("utf-8", "surrogateescape")[: _NAME_MAX - len(_SUFFIX) - 1]
    return "." + kept.decode("utf-8", "ignore") + _SUFFIX


def set_attributes(descriptor: int, mode: int, ids: Tuple[int, int]) -> None:
    """Give an open file its owner, group and mode, touching only what differs. Raises OSError."""
    status = os.fstat(descriptor)
    if (status.st_uid, status.st_gid) != ids:
        os.fchown(descriptor, *ids)
    # After the owner: a change of owner clears set-id bits.
    if stat.S_IMODE(os.fstat(descriptor).st_mode) != mode:
        os.fchmod(descriptor, mode)


def remove(path: str) -> None:
    """Delete a file or symlink durably; absent already is fine. Raises StepError."""
    try:
        os.unlink(path)
        sync_folder(os.path.dirname(path))
    except (FileNotFoundError, NotADirectoryError):
        return
    except OSError as error:
        raise StepError("cannot remove {}: {}".format(path, error.strerror)) from error


def sync_folder(path: str) -> None:
    """Make the names inside a directory durable. Raises StepError or OSError."""
    with open_folder(path) as folder:
        os.fsync(folder)


def _drop(folder: int, name: str) -> None:
    try:
        os.unlink(name, dir_fd=folder)
    except FileNotFoundError:
        return
