"""What a restore does to a host: every effect goes through here, one call each, so that a test can stop before any."""

from __future__ import annotations

import contextlib
import os
import shutil
import subprocess
from typing import Any, Callable, Dict, List, Sequence

from otobotctl.agent import backoff, compose, files
from otobotctl.agent.dumps import Project, psql
from otobotctl.agent.run import environment, last_words
from otobotctl.agent.running import Running, running, stop
from otobotctl.agent.shell import ask

_KEPT = 8192


class RestoreError(Exception):
    """A restore cannot go on; the text is for the operator and holds no secret."""


class Hands:
    """One client's project on this host. `say` tells the operator a line."""

    def __init__(self, project: Project, say: Callable[[str], None]) -> None:
        self.project = project
        self.say = say

    def sql(self, service: str, script: str, database: str = "postgres") -> str:
        """Run a script of psql in an engine's container, up to its first error; return what it printed.

        Raises RestoreError.
        """
        return self.tell(self.project.inside(service, *psql(database)), script, "psql in " + database)

    def tell(self, argv: Sequence[str], stdin: str, what: str) -> str:
        """Run a program that is told something; return its stdout. Raises RestoreError with its last words."""
        try:
            done = subprocess.run(
                list(argv),
                input=stdin.encode(),
                stdout=subprocess.PIPE,
                stderr=subprocess.PIPE,
                env=environment(),
                check=False,
            )
        except OSError as error:
            raise RestoreError("{} cannot be run: {}".format(argv[0], error.strerror)) from error
        if done.returncode:
            raise RestoreError("{} ended with {}: {}".format(what, done.returncode, last_words(done.stderr)))
        return done.stdout.decode("utf-8", "replace")

    def source(self, argv: Sequence[str]) -> "subprocess.Popen[bytes]":
        """A program whose stdout flows on. Raises RestoreError."""
        try:
            return subprocess.Popen(
                list(argv), stdin=subprocess.DEVNULL, stdout=subprocess.PIPE, stderr=subprocess.PIPE, env=environment()
            )
        except OSError as error:
            raise RestoreError("{} cannot be run: {}".format(argv[0], error.strerror)) from error

    def flow(self, source: "subprocess.Popen[bytes]", argv: Sequence[str], what: str, *, partly: bool = False) -> None:
        """Let `argv` read what `source` prints, to the end of both. Raises RestoreError: either of them failed.

        One that needs only a part of it ends before it has read the rest, and `source` cannot go on then.
        """
        self._pour(source, argv, what, subprocess.DEVNULL, partly=partly)

    def through(self, source: "subprocess.Popen[bytes]", argv: Sequence[str]) -> str:
        """What a program makes of a part of what `source` prints; short. Raises RestoreError: either failed."""
        said = os.memfd_create("answer")
        try:
            self._pour(source, argv, argv[-1], said, partly=True)
            return os.pread(said, os.fstat(said).st_size, 0).decode("utf-8", "replace")
        finally:
            os.close(said)

    def _pour(
        self, source: "subprocess.Popen[bytes]", argv: Sequence[str], what: str, out: int, *, partly: bool
    ) -> None:
        assert source.stdout is not None
        said = os.memfd_create("said")
        try:
            with subprocess.Popen(
                list(argv), stdin=source.stdout, stdout=out, stderr=said, env=environment()
            ) as reader:
                source.stdout.close()  # the reader's end is the only one: who writes to nobody ends
                status = reader.wait()
            errors = _rest(source)
            failed = source.wait()
            if status:
                last = last_words(os.pread(said, _KEPT, max(0, os.fstat(said).st_size - _KEPT)))
                also = "; the archive: " + last_words(errors) if failed and errors.strip() else ""
                raise RestoreError("{} is not restored (status {}): {}{}".format(what, status, last, also))
            if failed and not partly:
                raise RestoreError("{}: the archive cannot be read: {}".format(what, last_words(errors)))
        finally:
            os.close(said)

    def writers(self, engines: Sequence[str]) -> List[Running]:
        """What runs beside the engines. Raises ProbeError."""
        return [each for each in running(self.project.name) if each.service not in engines]

    def stop(self, containers: Sequence[Running]) -> None:
        """Stop containers. Raises ProbeError."""
        stop(containers)

    def up(self, services: Sequence[str]) -> None:
        """Bring these services up and wait until they are healthy. Raises RestoreError."""
        words = ("up", "--detach", "--no-recreate", "--quiet-pull", "--wait", "--wait-timeout", "300", *services)
        argv = compose.argv(self.project.name, self.project.directory, *words)
        backoff.around(self.project.name, lambda: self.tell(argv, "", "docker compose up"), RestoreError, self.say)

    def mountpoint(self, volume: str) -> str:
        """Where a volume of the project is. Raises RestoreError."""
        full = "{}_{}".format(self.project.name, volume)
        answer = ask(["docker", "volume", "inspect", "--format", "{{.Mountpoint}}", "--", full])
        if answer.status:
            raise RestoreError(answer.stderr.strip() or "there is no volume {}".format(full))
        return answer.stdout.strip()

    def rename(self, before: str, after: str) -> None:
        """Rename a directory, durably. Raises OSError."""
        os.rename(before, after)
        files.sync_folder(os.path.dirname(after))

    def remove(self, path: str) -> None:
        """Delete a directory with all in it; none is fine. Raises OSError."""
        with contextlib.suppress(FileNotFoundError):
            shutil.rmtree(path)

    def environment(self, service: str) -> Dict[str, str]:
        """What Compose gives a service's container; secrets among it. Raises RestoreError."""
        import json

        words = compose.argv(self.project.name, self.project.directory, "config", "--format", "json")
        found: Dict[str, Any] = json.loads(self.tell(words, "", "docker compose config"))
        return compose.variables(found, service)


def _rest(process: "subprocess.Popen[bytes]") -> bytes:
    if process.stderr is None:
        return b""
    with process.stderr:
        return process.stderr.read()[-_KEPT:]
