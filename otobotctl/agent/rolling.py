"""Changes a stateless service without a moment when nobody answers: a stand-in first, then the service itself.

The stand-in is a one-off container of the new release with the service's own network names and none of its published
ports. The proxies ask Docker's resolver at every turn, so they find both; whichever of the two is about to go refuses
new connections first, from inside its own network, and the proxy asks the other one. Requests under way are finished.
"""

from __future__ import annotations

import os
import time
from typing import List, NamedTuple, Sequence, Set, Tuple

from otobotctl.agent import compose
from otobotctl.agent.run import Run, StepError
from otobotctl.agent.shell import ask

LEARN_S = 3.5  # nginx asks for names anew every two seconds (`valid` of its resolver), and is given some more
POLL_S = 0.25
DIGEST, STAND_IN = "otobot.digest", "otobot.stand-in"
_LABELS = ("com.docker.compose.service", DIGEST, STAND_IN)
_FORMAT = "\t".join(["{{.ID}}", *('{{.Label "%s"}}' % name for name in _LABELS), "{{.Status}}"])
_REFUSE = ("INPUT", "!", "-i", "lo", "-p", "tcp", "--syn", "-j", "REJECT", "--reject-with", "tcp-reset")
_TABLES = ("iptables", "ip6tables")
_STOP_S = 60
_ESTABLISHED, _LISTEN = "01", "0A"


class Container(NamedTuple):
    """A container of a service. `well`: healthy, or running without a health check; `runs`: whatever its health."""

    ident: str
    service: str
    digest: str
    stand_in: bool
    well: bool
    runs: bool


class Wanted(NamedTuple):
    """How a stateless service should be: `digest` is its label's; its requests may take `drain_s` to end."""

    service: str
    digest: str
    drain_s: float


def pending(project: str, wanted: Wanted, touched: bool) -> bool:
    """Whether something of the service runs that Compose may replace. Raises StepError: Docker does not answer.

    That is what is not of this release; with `touched`, what it waits for may be of another one, and then Compose
    replaces it all the same.
    """
    found = [each for each in _containers(project) if each.service == wanted.service]
    here = [each for each in found if not each.stand_in]
    ours = bool(here) and all(each.digest == wanted.digest for each in here)
    return any(each.runs for each in found) and (touched or not ours)


def prepare(project: str, directory: str, wanted: Wanted, wait_s: float, run: Run) -> Tuple[str, List[str]]:
    """Let a stand-in answer in place of the service, which may then be replaced; finish() ends that.

    Return what is wrong with the stand-in and its last lines; then it is gone, and the service was not touched. A
    service that is not healthy gets one too: on a busy host it may answer all the same.
    Raises StepError: Docker does not answer.
    """
    roll = _Roll(project, directory, wanted, wait_s, run)
    found = roll.containers()
    here = [each for each in found if not each.stand_in and each.runs]
    left = any(each.well for each in found if each.stand_in)
    if not here or (left and not any(each.well for each in here)):
        return "", []  # a stand-in that a killed run has left may be all that answers: it goes on
    _accept(here)
    roll.dismiss()
    trouble, lines = roll.stand_in()
    if trouble:
        return trouble, lines
    run.say("{}: a stand-in of the new release answers".format(wanted.service))
    roll.drain(here)
    return "", []


def accept(project: str, wanted: Wanted) -> None:
    """Take back what a killed run may have left: the rule that refuses connections. Raises StepError."""
    _accept([each for each in _containers(project) if each.service == wanted.service and not each.stand_in])


def finish(project: str, directory: str, wanted: Wanted, run: Run) -> None:
    """Let the service, which is well, answer by itself again. Raises StepError: Docker does not answer."""
    accept(project, wanted)
    _Roll(project, directory, wanted, 0.0, run).dismiss()


def sweep(project: str) -> None:
    """Remove every stand-in of a project, whatever it does."""
    for each in _containers(project):
        if each.stand_in:
            ask(["docker", "rm", "--force", each.ident])


class _Roll:
    def __init__(self, project: str, directory: str, wanted: Wanted, wait_s: float, run: Run) -> None:
        self.project, self.directory, self.wanted = project, directory, wanted
        self.wait_s, self.run = wait_s, run

    def containers(self) -> List[Container]:
        return [each for each in _containers(self.project) if each.service == self.wanted.service]

    def stand_in(self) -> Tuple[str, List[str]]:
        """Start one and wait until it answers; return why it does not, and its last lines."""
        name = "{}-{}-next".format(self.project, self.wanted.service)
        words = ("run", "--detach", "--no-deps", "--use-aliases", "--name", name, "--label", STAND_IN + "=yes")
        try:
            self.run.command(compose.argv(self.project, self.directory, *words, self.wanted.service))
        except StepError as error:
            sweep(self.project)
            return "its stand-in does not start: {}".format(error), []
        trouble = self._until_well()
        if not trouble:
            time.sleep(LEARN_S)
            return "", []
        said = ask(["docker", "logs", "--tail", str(compose.LOG_LINES), name])
        sweep(self.project)
        lines = (said.stdout + said.stderr).splitlines()
        return trouble, ["{} | {}".format(self.wanted.service, line) for line in lines]

    def dismiss(self) -> None:
        """Let the stand-in finish what it has begun, and remove it: the service itself answers."""
        there = [each for each in self.containers() if each.stand_in]
        if not there:
            return
        time.sleep(LEARN_S)
        self.drain(there)
        for each in there:
            ask(["docker", "stop", "--time", str(_STOP_S), each.ident], timeout_s=_STOP_S + 30)
            ask(["docker", "rm", "--force", each.ident])

    def drain(self, containers: Sequence[Container]) -> None:
        """Refuse new connections and wait until those that there are have ended, for `drain_s` at most."""
        pids = [pid for pid in map(_pid, containers) if pid]
        for pid in pids:
            for table in _TABLES:
                ask(_inside(pid, table, "-I", *_REFUSE))
        deadline = time.monotonic() + self.wanted.drain_s
        while any(connections(pid) for pid in pids) and time.monotonic() < deadline:
            time.sleep(POLL_S)

    def _until_well(self) -> str:
        """Wait for the stand-in; return what is wrong with it when it will not become well."""
        deadline = time.monotonic() + self.wait_s
        while True:
            states = [state for each, state in _listed(self.project) if each.stand_in]
            if "healthy" in states or "running" in states:
                return ""
            if "starting" not in states and "created" not in states:
                return ", ".join(states) or "its container is gone"
            if time.monotonic() > deadline:
                return "not healthy after {:.0f} s".format(self.wait_s)
            time.sleep(POLL_S)


def connections(pid: str) -> int:
    """How many connections from outside the container's ports have open; 0 where it cannot be told."""
    return count([row for name in ("tcp", "tcp6") for row in _table(os.path.join("/proc", pid, "net", name))])


def _table(path: str) -> List[List[str]]:
    try:
        with open(path, encoding="ascii") as table:
            return [line.split() for line in table.readlines()[1:]]
    except OSError:  # it has ended, or there is no IPv6
        return []


def count(rows: Sequence[Sequence[str]]) -> int:
    """Of the rows of /proc/net/tcp, those of connections that were accepted on a port that is listened on."""
    ports: Set[str] = {_port(row[1]) for row in rows if row[3] == _LISTEN}
    open_now = [row for row in rows if row[3] == _ESTABLISHED and _port(row[1]) in ports]
    return sum(1 for row in open_now if not _loopback(row[2]))


def _port(address: str) -> str:
    return address.rpartition(":")[2]


def _loopback(address: str) -> bool:
    return address.startswith(("0100007F:", "0000000000000000FFFF00000100007F:"))


def _accept(containers: Sequence[Container]) -> None:
    for pid in filter(None, map(_pid, containers)):
        for table in _TABLES:
            while not ask(_inside(pid, table, "-D", *_REFUSE)).status:
                pass


def _inside(pid: str, *words: str) -> List[str]:
    return ["nsenter", "--target", pid, "--net", words[0], "--wait", *words[1:]]


def _pid(container: Container) -> str:
    found = ask(["docker", "inspect", "--format", "{{.State.Pid}}", container.ident]).stdout.strip()
    return found if found.isdigit() and found != "0" else ""


def _containers(project: str) -> List[Container]:
    return [each for each, _ in _listed(project)]


def _listed(project: str) -> List[Tuple[Container, str]]:
    return parse(compose.listed(project, _FORMAT))


def parse(stdout: str) -> List[Tuple[Container, str]]:
    """Lines of `docker ps` in _FORMAT; with each container the word for how it is."""
    found = []
    for line in stdout.splitlines():
        fields = line.split("\t")
        if len(fields) != len(_LABELS) + 2:
            continue
        ident, service, digest, stand_in, status = fields
        state = word(status)
        well, runs = state in ("healthy", "running"), status.startswith("Up ")
        found.append((Container(ident, service, digest, bool(stand_in), well, runs), state))
    return found


def word(status: str) -> str:
    """The state in a status of `docker ps` such as "Up 3 seconds (health: starting)"."""
    if status.startswith("Up "):
        for health in ("unhealthy", "healthy", "starting"):
            if health + ")" in status:
                return health
        return "paused" if "(Paused)" in status else "running"
    return status.split(" ", maxsplit=1)[0].lower() + (" " + status.split(" ", maxsplit=2)[1] if "(" in status else "")
