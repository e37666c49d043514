"""The wire shapes between the operator's machine and the agent: lines of JSON, one object a line.

The operator's side sends one request line; the agent answers with lines until one that ends the exchange
("end" or "error"). Python 3.8 syntax: this module runs on hosts too.
"""

from __future__ import annotations

import hashlib
import json
from typing import Any, Dict, List, Optional, TypedDict

VERSION = 1
STATE_DIR = "/var/lib/otobot"  # root-only: the kept agent, journals, stamps
LOCK_PATH = "/run/otobot/lock"


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
    """op = "follow": read on in the journal of `run` (None: the newest) from record number `offset`."""

    version: int
    op: str
    run: Optional[str]
    offset: int


# Records of a journal, each with "at" (Unix seconds) and "event":
#   run_start   run, who, stage, steps: [name]
#   step_start  step
#   output      step, text          one line of a step's own output, masked
#   step_end    step, ok, changed, took_s, error (str, when not ok), drift (bool: facts had moved)
#   answer      answer, facts | error     the stage's questions again, after the last step
#   run_end     ok, failed (step name or None), drift, reboot (bool: a reboot was asked for)
# Lines that only the live stream has:
#   {"need": "agent"}               the host has no agent of this digest: send it
#   {"end": true, "boot_id": str, "holder": {...} | None, "last": {...} | None}
#   {"error": {"code": "locked"|"refused"|"version"|"internal", "message": str, "holder": {...}}}
#   {"beat": true}                  sent every 3 seconds of silence, so that a dead line is told from a slow step


def facts_digest(facts: Dict[str, Any]) -> str:
    """A short, stable digest of one answer, the same on both sides of the wire.

    A fact whose name starts with "_" is left out: it moves by itself (a health state, an open session), and
    nobody changed the host when it did.
    """
    kept = {name: value for name, value in facts.items() if not name.startswith("_")}
    text = json.dumps(kept, sort_keys=True, separators=(",", ":"), ensure_ascii=True)
    return hashlib.sha256(text.encode()).hexdigest()[:32]


def encode(record: Dict[str, Any]) -> bytes:
    """One line of the wire."""
    return json.dumps(record, separators=(",", ":"), ensure_ascii=True).encode() + b"\n"
