"""The wire shapes between the operator's machine and the agent: lines of JSON, one object a line.

The operator's side sends one request line; the agent answers with lines until one that ends the exchange
("end" or "error"). Python 3.8 syntax: this module runs on hosts too.
"""

from __future__ import annotations

from otobotctl.agent.lines import canonical, decode, encode

__all__ = ["encode", "facts_digest"]  # and the shapes

TYPE_CHECKING = False
if TYPE_CHECKING:
    from typing import Any, Dict, List, Optional, TypedDict
else:
    TypedDict = dict  # a host needs no shapes, and `typing` costs it a tenth of a look

VERSION = 1
STATE_DIR = "/var/lib/otobot"  # root-only: the kept agent, journals, stamps
RUNTIME_DIR = "/run/otobot"
LOCK_PATH = RUNTIME_DIR + "/lock"
BEAT_S = 3
TAKEN_BACK = "taken_back"


class Question(TypedDict):
    """What to look at: a step kind and the identity of one resource. Never holds a secret."""

    kind: str
    params: Dict[str, Any]


class WireStep(TypedDict):
    """One step to apply. `seen` is facts_digest() of the facts the plan was made from; "" skips that check.

    `name` is the stable, human name "<stage>/<step>". `params` may hold secret contents.
    """

    name: str
    kind: str
    params: Dict[str, Any]
    question: Dict[str, Any]
    seen: str


class ObserveRequest(TypedDict):
    """op = "observe". Answered by {"answer": i, "facts": {...}} or {"answer": i, "error": str}, then an End."""

    version: int
    op: str
    questions: List[Question]


class ApplyRequest(TypedDict):
    """op = "apply". The agent detaches a worker and answers with the worker's journal, record by record.

    `mask` are the secret values that must not reach a journal; they live in memory only.
    """

    version: int
    op: str
    run: str
    who: str
    stage: str
    steps: List[WireStep]
    questions: List[Question]  # every question of the stage, answered again after the last step
    mask: List[str]


class FollowRequest(TypedDict):
    """op = "follow": read on in the journal of `run` from record number `offset`."""

    version: int
    op: str
    run: str
    offset: int


class Source(TypedDict):
    """What an archive must hold: kind is postgres, mongo or volume; `name` the database or the volume.

    `service` is the container that a database is dumped in; empty for a volume. `of` is the service that it belongs to:
    one that the host's release does not have yet has nothing there. `exclude` are paths in a volume that are left out.
    """

    kind: str
    name: str
    service: str
    of: str
    exclude: List[str]


class ArchiveRequest(TypedDict):
    """op = "archive": stream a client's configuration and `sources`; the host keeps nothing but a note that it did.

    `engines` are the services that hold databases. With `final` every other container is stopped first, and stays so
    once the operator has confirmed the archive; after anything else it is started again.
    """

    version: int
    op: str
    run: str
    who: str
    client: str
    project: str
    sources: List[Source]
    engines: List[str]
    final: bool


class InsideRequest(TypedDict):
    """op = "inside": run `argv` in a service's container, with `input` on its stdin. Nothing of it is journalled."""

    version: int
    op: str
    project: str
    service: str
    argv: List[str]
    input: str


class ExecRequest(TypedDict):
    """op = "exec": run `argv` for an operator, if the account's role on the host may; noted in the host's audit.

    On the host where `service` is "", else in that service's container of `project`, which `client` has.
    """

    version: int
    op: str
    who: str
    client: str
    project: str
    service: str
    argv: List[str]


class LedgerRequest(TypedDict):
    """op = "ledger": with an `event`, note it and how it ended; without, answer with the whole chain in blocks."""

    version: int
    op: str
    who: str
    event: str
    status: Optional[int]


class ProofRequest(TypedDict):
    """op = "proof": of a client's archives; `asked` is what each module says.

    `word` is verify, drill or reports; elsewhere (a drill on a machine that is not the client's: `asked` holds secrets)
    or drilled (what such a one found, for the client's own host to note); rekey exchanges the repositories' password.
    """

    version: int
    op: str
    who: str
    client: str
    word: str
    asked: Dict[str, Any]


class LogsRequest(TypedDict):
    """op = "logs": what a client's containers say. `tail` is a number of lines or "all"; `since` a time or ""."""

    version: int
    op: str
    who: str
    client: str
    project: str
    services: List[str]
    tail: str
    since: str
    follow: bool


class BackupRequest(TypedDict):
    """op = "backup": `do` is run, list, status, schedule or init, of these clients. Without `targets`: all of them.

    `patience_s` is how long a run waits for one that is under way. With `consistent` what writes is stopped meanwhile.
    """

    version: int
    op: str
    do: str
    run: str
    who: str
    clients: List[str]
    targets: List[str]
    reason: str
    consistent: bool
    patience_s: float


class Confirmation(TypedDict):
    """The operator's word, in one line on stdin, that the archive `file` is on disk; sha256 and bytes are its own."""

    file: str
    sha256: str
    bytes: int
    members: int
    consistent: bool


class Holder(TypedDict):
    """Who holds the host's lock; `at` in Unix seconds."""

    run: str
    who: str
    at: float
    pid: int


class LastRun(TypedDict):
    """The newest run: `state` is running, ok, failed or died (its process ended without a word); `step` is where."""

    run: str
    who: str
    at: float
    stage: str
    state: str
    step: Optional[str]


# Records of a journal, each with "at" (Unix seconds) and "event":
#   run_start   run, who, stage, steps: [name], boot_id
#   step_start  step
#   output      step, text          one line of a step's own output, masked
#   step_end    step, ok, changed, took_s, error (str, when not ok), drift (bool: facts had moved), and code, for a
#               failure that a program tells apart: TAKEN_BACK, the release before is up and healthy again
#   answer      answer, facts | error     the request's questions again, after the last step
#   run_end     ok, failed (step name or None), drift, reboot (bool: the host goes down now)
# Records of an archive, each without "event":
#   {"release": n}                   first; also images, and members: how many will come
#   {"member": name}                 begins a member
#   {"block": n}                     n bytes of it follow, raw; the operator's side adds them as "data"
#   {"member_end": name}             also bytes, sha256, note (str: what an operator should know of it), rows_estimated
#   {"archived": n}                  all n members came; also consistent. Now the host waits for a Confirmation
#   {"final": {...} or None}         instead: nothing runs; the note of a final archive made before; also left (bool)
# Records of a command inside a container: {"block": n} for its stdout, then {"exit": status, "said": lines of stderr}
# Records of a proof: those of its word (agent/backup/verify.py, drill.py); {"results"}, {"done"} or {"signed"} last
# Records of an exec: {"block": n} for its stdout, also with "of": 2 for its stderr, as they come; {"said": str} when it
# could not be started; then {"exit": status}
# Records of logs: {"block": n} for the lines, then {"exit": status}
# Records of a backup's run, each with client: {"target": name} begins one; {"part": name}; {"saved": name}, also bytes
#   and added; {"pruning": name}; {"warning": str}; {"result": {target, archive, error, took_s}} ends a target
# Records of its list: {"listed": {client, target, archives, error}}; of its status: {"standing": {...}}, see
#   agent/backup/asked.py; of its schedule and init: {"repository": {...}} each, then {"planned": {...}}, see scheduled
# Lines that only the live stream has:
#   {"ready": true} or {"need": "agent"}    first: whether the host keeps an agent of this digest, or needs it sent
#   {"end": true}   also boot_id (str), holder (Holder or None), last (LastRun or None); ends the exchange
#   {"error": ...}  code (locked, unknown, died, journal, refused, policy, archive, internal), message, holder;
#                   ends it too
#   {"beat": true}                  every 3 seconds, so that a dead line is told from a slow step


def facts_digest(facts: Dict[str, Any]) -> str:
    """A short, stable digest of one answer, the same on both sides of the wire.

    A fact whose name starts with "_" is left out: it moves by itself (a health state, an open session), and
    nobody changed the host when it did.
    """
    from otobotctl.agent.sums import sha256

    kept = {name: value for name, value in facts.items() if not name.startswith("_")}
    return str(sha256(canonical(kept).encode()).hexdigest()[:32])


def linked(previous: bytes, row: Dict[str, Any]) -> bytes:
    """A row of an audit as its line: `previous` is the line before without its newline, b"" for the first.

    Each row holds the digest of the line before, so a row cannot be changed, taken out or put in between without
    every later one being written anew; that, an earlier copy of a later digest shows.
    """
    return encode({**row, "previous": line_digest(previous)})


def line_digest(line: bytes) -> str:
    """The digest of an audit's line; "" for no line."""
    from otobotctl.agent.sums import sha256

    return str(sha256(line).hexdigest()) if line else ""


def broken_at(lines: List[bytes]) -> Optional[int]:
    """The number, from 1, of the first line of an audit that does not follow from the one before; None: it is whole.

    A line that a crash cut short is no break: the row after it was linked to it as it stands.
    """
    previous = b""
    for number, line in enumerate(lines, start=1):
        row = audit_row(line)
        if row is not None and row.get("previous") != line_digest(previous):
            return number
        previous = line
    return None


def audit_row(line: bytes) -> Optional[Dict[str, Any]]:
    """A line of an audit as its row; None for one that a crash cut short."""
    try:
        row = decode(line)
    except ValueError:
        return None
    return row if isinstance(row, dict) else None
