"""Streams a client's configuration and data to the operator, member after member; nothing is written on the host."""

from __future__ import annotations

import contextlib
import hashlib
import os
import signal
import time
from typing import Any, Dict, Iterable, Iterator, List, Sequence

from otobotctl.agent import lock, notes, scope
from otobotctl.agent.dumps import Dump, DumpError, Project, dumps
from otobotctl.agent.pipe import Pipe
from otobotctl.agent.places import Places
from otobotctl.agent.protocol import BEAT_S
from otobotctl.agent.releases import Releases
from otobotctl.agent.run import ProbeError
from otobotctl.agent.running import Running, left, running, start, stop
from otobotctl.agent.wire import RefusedError, Wire

_READ = 1 << 18


def archive(request: Dict[str, Any], places: Places, wire: Wire) -> None:
    """Serve an archive request up to the operator's confirmation, and note it.

    Raises:
        RefusedError: "locked"; "archive" when a member cannot be had, and then nothing of it counts.
        BrokenPipeError: the operator is gone.
    """
    places.prepare()
    if request["final"]:
        stand_apart("otobot-" + request["run"])
        lock.acquire(places.lock, {"run": "", "who": request["who"], "at": round(time.time(), 3), "pid": os.getpid()})
    try:
        _serve(request, Releases(request["client"]), places, wire)
    except (DumpError, ProbeError) as error:
        raise RefusedError("archive", str(error)) from error


def stand_apart(name: str) -> None:
    """Go on in a process outside the SSH session: what ends that must not keep the containers from starting again.

    The process of the session only waits, so that the line stays open.
    """
    signal.setitimer(signal.ITIMER_REAL, 0)  # one process beats, and it is the one that writes records
    child = os.fork()
    if child:
        os.waitpid(child, 0)
        os._exit(0)
    os.setsid()
    signal.signal(signal.SIGHUP, lambda *_: None)
    signal.setitimer(signal.ITIMER_REAL, BEAT_S, BEAT_S)
    scope.enter(name)


def _serve(request: Dict[str, Any], here: Releases, places: Places, wire: Wire) -> None:
    number = here.current()
    before = running(request["project"])
    if request["final"] and (number is None or not before):
        rest = left(request["project"]) or os.path.lexists(here.home)
        wire.send({"final": _final(request["client"], places, here), "left": rest})
        return
    if number is None:
        raise DumpError(request["client"], "nothing is deployed on this host")
    writers = [each for each in before if each.service not in request["engines"]]
    with _stopped(writers if request["final"] else [], wire) as to_start:
        paths = _paths(here.path(number))
        images = here.record(number).get("images") or {}
        sources = _there(request["sources"], images)
        wanted = list(dumps(sources, Project(request["project"], here.link)))
        count = len(paths) + len(wanted)
        wire.send({"release": number, "members": count, "images": images})
        moved = _members(paths, here.path(number), wanted, wire)
        after = [each for each in running(request["project"]) if each.service not in request["engines"]]
        quiet = _is_one_database(sources) or (not after and (request["final"] or not writers))
        wire.send({"archived": count, "consistent": quiet and not moved})
        notes.write(request["client"], places.state, wire.hear(), request["final"])
        to_start.clear()


def _there(sources: Sequence[Dict[str, Any]], images: Dict[str, str]) -> List[Dict[str, Any]]:
    """Without those of services that the release does not have: a deploy is about to bring them."""
    return [source for source in sources if not images or source["of"] in images]


def _is_one_database(sources: Sequence[Dict[str, Any]]) -> bool:
    """A dump of PostgreSQL is of one moment by itself; two dumps are not of the same one."""
    return [source["kind"] for source in sources] == ["postgres"]


@contextlib.contextmanager
def _stopped(containers: List[Running], wire: Wire) -> Iterator[List[Running]]:
    """Stop these containers; those that are still in the list at the end are started again, whatever happens."""
    to_start = list(containers)
    try:
        stop(to_start)
        yield to_start
    finally:
        wire.alone = True  # a line that is cut meanwhile changes nothing about what has to be done
        start(to_start)
        wire.alone = False


def _members(paths: Sequence[str], release: str, wanted: Sequence[Dump], wire: Wire) -> bool:
    """Send every member; return whether one of them changed while it was read. Raises DumpError."""
    for path in paths:
        _file(path, "configuration/" + os.path.relpath(path, release), wire)
    moved = [dump.name for dump in wanted if _dump(dump, wire)]
    return bool(moved)


def _paths(release: str) -> List[str]:
    return sorted(os.path.join(place, name) for place, _, names in os.walk(release) for name in names)


def _file(path: str, name: str, wire: Wire) -> None:
    with open(path, "rb") as source:
        wire.send({"member": name})
        end = _blocks(iter(lambda: source.read(_READ), b""), wire)
    wire.send(dict(end, member_end=name, note=""))


def _dump(dump: Dump, wire: Wire) -> bool:
    """Send one dump; return whether it changed while it was read. Raises DumpError."""
    wire.send({"member": dump.name})
    rows = dump.rows() if dump.rows else None
    try:
        program = Pipe(dump.argv, dump.stdin)
    except OSError as error:
        raise DumpError(dump.name, "{} cannot be run: {}".format(dump.argv[0], error.strerror)) from error
    try:
        end = _blocks(program.chunks(), wire)
    finally:
        program.end()
    said = program.said().replace(dump.secret, "***") if dump.secret else program.said()
    if program.status and program.status not in dump.tolerated:
        raise DumpError(dump.name, "{} ended with {}: {}".format(dump.program, program.status, said or "no word why"))
    moved = bool(program.status)
    end.update(member_end=dump.name, note=said or "changed while it was read" if moved else "")
    wire.send(dict(end, rows_estimated=rows) if rows is not None else end)
    return moved


def _blocks(chunks: Iterable[bytes], wire: Wire) -> Dict[str, Any]:
    """Send chunks as they come; return their digest and how many bytes they are."""
    digest, size = hashlib.sha256(), 0
    for data in chunks:
        digest.update(data)
        size += len(data)
        wire.block(data)
    return {"bytes": size, "sha256": digest.hexdigest()}


def _final(client: str, places: Places, here: Releases) -> Any:
    """The note of a final archive that nothing has come after; None: there is none, or a deploy came after it."""
    found = notes.read(client, places.state)
    if not found or not found.get("final"):
        return None
    return found if here.touched_at() <= found["made"] else None
