"""A repository from the operator's own machine, by his own restic and what his environment lets it do."""

from __future__ import annotations

import json
import signal
import subprocess
import time
from collections.abc import Callable, Mapping, Sequence
from functools import partial
from typing import Any
from urllib.parse import quote

from otobotctl.errors import LockedError, OtobotError, StepFailedError
from otobotctl.transport import program

_AT_ONCE = 200  # snapshots on one command line
_PATIENCE_S = 60.0  # a host that ships a log has its repository for a moment, many times a minute
_SHORTEST = 6
_AGAIN = b"returned error, retrying"
_REFUSED = (b"403 Forbidden", b"401 Unauthorized", b"Access Denied", b"AccessDenied")


def address(repository: str, variables: Mapping[str, str]) -> str:
    """The repository as every version of restic understands it: variables for a REST login exist since 0.16 only.

    Who is named in `variables` logs in, whoever the address says.
    """
    password = variables.get("RESTIC_REST_PASSWORD")
    if not repository.startswith("rest:") or not password:
        return repository
    scheme, _, rest = repository.partition("://")
    host, slash, path = rest.partition("/")
    named, at, host = host.rpartition("@")
    user = variables.get("RESTIC_REST_USERNAME") or (named.partition(":")[0] if at else "")
    return f"{scheme}://{quote(user, safe='')}:{quote(password, safe='')}@{host}{slash}{path}"


class Repository:
    """One repository. `variables` hold secrets: the environment of restic's process, and nothing else, gets them."""

    def __init__(self, name: str, repository: str, variables: Mapping[str, str]) -> None:
        self.name = name
        self._variables = {**variables, "RESTIC_REPOSITORY": address(repository, variables), "LC_ALL": "C.UTF-8"}
        secrets = [form for value in variables.values() for form in (value, quote(value, safe=""))]
        self._secrets = [form for form in secrets if len(form) >= _SHORTEST]

    def snapshots(self) -> list[dict[str, Any]]:
        """All snapshots, as restic lists them. Raises as `run`."""
        found: list[dict[str, Any]] = json.loads(self.run("snapshots", "--json", "--no-lock") or "[]") or []
        return found

    def forget(self, snapshots: Sequence[str]) -> None:
        """Forget these snapshots; their data stays until a prune. Raises as `run`."""
        for start in range(0, len(snapshots), _AT_ONCE):
            _patient(partial(self._forget, snapshots[start : start + _AT_ONCE]))

    def prune(self) -> None:
        """Free the room of what no snapshot needs. Raises as `run`."""
        _patient(partial(self.run, "prune"))

    def run(self, *words: str) -> str:
        """Run restic to its end; return its stdout.

        Raises:
            LockedError: something else works on the repository.
            StepFailedError: restic failed, or may not do it.
            OtobotError: there is no restic here.
        """
        argv = ("restic", "--quiet", *words)
        try:
            done = subprocess.run(
                argv, env=self._environment(), stdin=subprocess.DEVNULL, capture_output=True, check=False
            )
        except OSError as error:
            raise _missing(error) from error
        if done.returncode:
            raise self._failed(words[0], done.returncode, done.stderr.decode("utf-8", "replace"))
        return done.stdout.decode("utf-8", "replace")

    def _environment(self) -> dict[str, str]:
        return {**program.environment(), **self._variables}

    def _forget(self, snapshots: Sequence[str]) -> None:
        """As `run`, but ended at the first refusal: restic would ask ten times, for most of a minute."""
        said: list[bytes] = []
        refused = False
        try:
            with subprocess.Popen(
                ("restic", "--quiet", "forget", *snapshots),
                env=self._environment(),
                stdin=subprocess.DEVNULL,
                stdout=subprocess.DEVNULL,
                stderr=subprocess.PIPE,
            ) as process:
                for line in process.stderr or ():
                    said.append(line)
                    if not refused and _AGAIN in line and any(sign in line for sign in _REFUSED):
                        refused = True
                        process.send_signal(signal.SIGINT)  # it takes its lock away
        except OSError as error:
            raise _missing(error) from error
        if refused or process.returncode:
            text = b"".join(said).decode("utf-8", "replace")
            raise self._failed("forget", process.returncode, text, refused=refused)

    def _failed(self, what: str, status: int, said: str, *, refused: bool = False) -> OtobotError:
        for secret in self._secrets:
            said = said.replace(secret, "***")
        lines = [line.strip() for line in said.splitlines() if line.strip()]
        ended = f"is refused by {self.name}" if refused else f"ended with {status} on {self.name}"
        if "already locked" in said:
            hint = "wait until it has ended; a lock whose process is gone is removed by: restic unlock"
            return LockedError(f"something else works on {self.name}", hint=hint, details=lines[-3:])
        hint = "nothing was lost; see that this machine may delete there, with credentials of its own (docs/backups.md)"
        return StepFailedError(f"restic {what} {ended}", hint=hint, details=lines[-3:])


def _patient(does: Callable[[], object]) -> None:
    """Do what wants the repository for itself, again while somebody has it, for a while."""
    ends = time.monotonic() + _PATIENCE_S
    while True:
        try:
            does()
        except LockedError:
            if time.monotonic() > ends:
                raise
        else:
            return
        time.sleep(1)


def _missing(error: OSError) -> OtobotError:
    hint = "install restic on this machine, such as: sudo apt install restic"
    return OtobotError(f"restic cannot be run: {error.strerror}", hint=hint)
