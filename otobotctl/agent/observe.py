"""Answers questions: one kind's trouble is one answer's error, the others go on.

A kind whose programs can be asked about many things at once has `probe_all`: params in, facts out, in the same order.
"""

from __future__ import annotations

import sys
from typing import Any, Dict, List, Optional, Sequence

from otobotctl.agent import journal, lock
from otobotctl.agent.places import Places, boot_id
from otobotctl.agent.run import ProbeError


def kind_module(kind: str) -> Any:
    """The module of a step kind. Raises ProbeError for a kind that this agent does not have."""
    if not kind.isidentifier():
        raise ProbeError("not a kind of step: {!r}".format(kind))
    try:
        name = "otobotctl.agent.kinds." + kind
        __import__(name)  # importlib would cost more than most kinds
        return sys.modules[name]
    except ModuleNotFoundError as error:
        raise ProbeError("no kind of step: {} ({})".format(kind, error)) from error


def answer(index: int, question: Dict[str, Any]) -> Dict[str, Any]:
    """The answer record of one question: facts, or the error that kept the kind from looking."""
    try:
        return {"answer": index, "facts": kind_module(question["kind"]).probe(question["params"])}
    except ProbeError as error:
        return {"answer": index, "error": str(error)}
    except Exception as error:  # noqa: BLE001 a kind's mistake must not cost the other answers
        return {"answer": index, "error": "{}: {}".format(type(error).__name__, error)}


def answers(questions: Sequence[Dict[str, Any]]) -> "list[Dict[str, Any]]":
    """Every answer, in order; the questions of one kind cost one program where the kind can do that."""
    together = _together(questions)
    return [
        {"answer": index, "facts": together[index]} if index in together else answer(index, question)
        for index, question in enumerate(questions)
    ]


def _together(questions: Sequence[Dict[str, Any]]) -> Dict[int, Dict[str, Any]]:
    """The facts that kinds answer all at once, by the question's place."""
    places: Dict[str, List[int]] = {}
    for index, question in enumerate(questions):
        places.setdefault(question["kind"], []).append(index)
    found: Dict[int, Dict[str, Any]] = {}
    for kind, indexes in places.items():
        found.update(zip(indexes, _at_once(kind, [questions[index]["params"] for index in indexes])))
    return found


def _at_once(kind: str, params: List[Dict[str, Any]]) -> List[Dict[str, Any]]:
    """All facts of one kind; nothing where it cannot: each is asked alone then, and the one at fault tells it."""
    try:
        probe_all = getattr(kind_module(kind), "probe_all", None)
        return [] if probe_all is None else list(probe_all(params))
    except Exception:  # noqa: BLE001 see above
        return []


def ending(places: Places, before: Optional[Dict[str, Any]] = None) -> Dict[str, Any]:
    """The line that ends an exchange. `before`: who held the host when it began, and so moved facts during it."""
    found = lock.holder(places.lock) or before
    latest = journal.last(places.runs, found["run"] if found else None)
    return {"end": True, "boot_id": boot_id(), "holder": found, "last": latest}
