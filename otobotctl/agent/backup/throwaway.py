"""Containers that a drill restores into: in a network without a way out, and gone afterwards, whoever is killed.

Docker itself removes them when they stop (--rm), so that not even a reboot leaves one; the next drill removes what
still runs. Nobody outside reaches them, so their database trusts whoever comes, and no password of the client's is
needed or set.
"""

from __future__ import annotations

import contextlib
import os
import subprocess
import time
from typing import Dict, List, Sequence

from otobotctl.agent.dumps import ADMIN, psql
from otobotctl.agent.run import ProbeError, environment, last_words
from otobotctl.agent.shell import ask

PREFIX = "otobot-drill-"
LABEL = "otobot.drill="
_START_S = 180.0
_CLEAR_S = 300.0
_SHORTEST = 6  # what is shorter, such as a port, would be masked within words
_SPARE = 0.05  # of the disk
# The client's own work goes first where both want the processor.
MILD = ("--cpu-shares=128", "--pids-limit=512", "--security-opt=no-new-privileges")


class DrillError(Exception):
    """A drill cannot go on; the text is for the operator and holds no secret."""


def names(client: str) -> List[str]:
    """The containers of this client's drills that are there."""
    answer = ask(["docker", "ps", "--all", "--quiet", "--filter", "label=" + LABEL + client], timeout_s=_CLEAR_S)
    return answer.stdout.split()


def clear(client: str) -> int:
    """Remove every container and network of this client's drills; return how many containers there were.

    A daemon that does not answer costs the drill's own result nothing: the next drill finds what is left.
    """
    found: List[str] = []
    with contextlib.suppress(ProbeError):
        found = names(client)
        if found:
            ask(["docker", "rm", "--force", "--volumes", *found], timeout_s=_CLEAR_S)
        ask(["docker", "network", "rm", PREFIX + client], timeout_s=_CLEAR_S)
    return len(found)


def docker_root() -> str:
    """Where Docker keeps containers; the root where it does not say."""
    found = ask(["docker", "info", "--format", "{{.DockerRootDir}}"]).stdout.strip()
    return found if os.path.isdir(found) else "/"


def refuse_without_room(needed: float, what: str) -> None:
    """See that this many bytes fill no disk that the client works on. Raises DrillError: there may not be room."""
    disk = os.statvfs(docker_root())
    free = disk.f_bavail * disk.f_frsize - _SPARE * disk.f_blocks * disk.f_frsize
    if needed > free:
        text = "{} needs about {:.1f} GB beside a twentieth of the disk, and {:.1f} GB are there"
        raise DrillError(text.format(what, needed / 1e9, max(free, 0) / 1e9))


class Throwaway:
    """What a drill of one client runs. It is in the place of a Project for whoever reads a database."""

    def __init__(self, client: str) -> None:
        """Make the network. Raises DrillError."""
        self.client = client
        self._network = PREFIX + client
        self._do(["docker", "network", "create", "--internal", "--label", LABEL + client, self._network], "the network")

    def name(self, service: str) -> str:
        """The name of a container."""
        return PREFIX + self.client + "-" + service

    def inside(self, service: str, *argv: str) -> List[str]:
        """The command line that runs `argv` in a container, with its stdin."""
        return ["docker", "exec", "--interactive", self.name(service), *argv]

    def postgres(self, service: str, image: str) -> None:
        """Start an empty server; it answers when this returns. Raises DrillError."""
        words = ("--env=POSTGRES_USER=" + ADMIN, "--env=POSTGRES_HOST_AUTH_METHOD=trust", "--shm-size=128m")
        self._start(service, image, *words)
        # Over TCP: the first start runs a temporary server that answers on the socket alone.
        ready = ("pg_isready", "--quiet", "--host=127.0.0.1", "--username=" + ADMIN)
        self._wait(service, *ready)

    def mongo(self, service: str, image: str) -> None:
        """Start an empty server; it answers when this returns. Raises DrillError."""
        self._start(service, image)
        self._wait(service, "mongosh", "--quiet", "--eval", "db.runCommand({ping: 1}).ok")

    def once(self, service: str, image: str, variables: Dict[str, str], *argv: str) -> "tuple[int, str, str]":
        """Run a program in a container of its own to its end; return its status, stdout and last words of stderr.

        `variables` may hold secrets: they are in memory and in that container alone, and none is in what is returned.
        """
        listed = os.memfd_create("environment")
        try:
            os.write(listed, "".join("{}={}\n".format(*each) for each in sorted(variables.items())).encode())
            os.lseek(listed, 0, os.SEEK_SET)
            words = [*self._run(service), "--env-file", "/proc/self/fd/{}".format(listed), image, *argv]
            done = subprocess.run(
                words, stdin=subprocess.DEVNULL, stdout=subprocess.PIPE, stderr=subprocess.PIPE, env=environment(),
                pass_fds=(listed,), check=False,
            )  # fmt: skip
        except OSError as error:
            raise DrillError("docker cannot be run: {}".format(error.strerror)) from error
        finally:
            os.close(listed)
        said = last_words(done.stderr)
        for value in variables.values():
            said = said.replace(value, "***") if len(value) > _SHORTEST else said
        return done.returncode, done.stdout.decode("utf-8", "replace"), said

    def sql(self, service: str, script: str, database: str = "postgres") -> str:
        """Run a script up to its first error; return what it printed. Raises DrillError."""
        argv = self.inside(service, *psql(database))
        done = subprocess.run(
            argv, input=script.encode(), stdout=subprocess.PIPE, stderr=subprocess.PIPE, env=environment(), check=False
        )
        if done.returncode:
            raise DrillError("psql in {} ended with {}: {}".format(database, done.returncode, last_words(done.stderr)))
        return done.stdout.decode("utf-8", "replace").rstrip("\n")

    def _run(self, service: str) -> List[str]:
        label = ("--label", LABEL + self.client, "--network", self._network, "--network-alias", service)
        return ["docker", "run", "--rm", "--name", self.name(service), *label, *MILD]

    def _start(self, service: str, image: str, *words: str) -> None:
        argv = [*self._run(service), "--detach", *words, image]
        self._do(argv, "{} of {}".format(service, image))

    def _do(self, argv: Sequence[str], what: str) -> None:
        answer = ask(argv, timeout_s=600.0)
        if answer.status:
            raise DrillError("{} cannot be made: {}".format(what, last_words(answer.stderr.encode())))

    def _wait(self, service: str, *argv: str) -> None:
        deadline = time.monotonic() + _START_S
        while ask(self.inside(service, *argv), timeout_s=_START_S).status:
            if time.monotonic() > deadline:
                said = ask(["docker", "logs", "--tail", "5", self.name(service)])
                why = last_words((said.stdout + said.stderr).encode())
                raise DrillError("{} did not answer in {:.0f} s: {}".format(service, _START_S, why))
            time.sleep(0.25)
