"""What a GPU host is answering now, and what its callers asked lately, as its meter tells. Pure."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Any


@dataclass(frozen=True)
class Flight:
    """The requests for a model that are under way; `begun` have had their first byte.

    `waiting` is what is more than the engine answers of one model at once: Ollama has no way to ask for its queue. A
    model "" is one that was not known yet.
    """

    model: str
    requests: int
    begun: int
    waiting: int


@dataclass(frozen=True)
class Span:
    """What reached the engine in a time: requests, errors (also late ones), and tokens in and out."""

    requests: int = 0
    failed: int = 0
    tokens_in: int = 0
    tokens_out: int = 0


@dataclass(frozen=True)
class Asker:
    """A client's requests for one purpose: now, in the last hour, and since midnight UTC."""

    client: str
    purpose: str
    in_flight: int
    hour: Span
    day: Span


def flights(rows: Sequence[Mapping[str, Any]], parallel: int) -> tuple[Flight, ...]:
    """By model. `parallel`: how many requests of one model are answered at once."""
    found: dict[str, list[int]] = {}
    for row in rows:
        counts = found.setdefault(tagged(row["model"]), [0, 0])
        counts[0] += row["requests"]
        counts[1] += row["begun"]
    return tuple(
        Flight(model, count, begun, max(0, count - parallel) if model else 0)
        for model, (count, begun) in sorted(found.items())
    )


def askers(metered: Mapping[str, Any]) -> tuple[Asker, ...]:
    """Who asks or asked today, by name."""
    now: dict[str, int] = {}
    for row in metered["in_flight"]:
        now[row["caller"]] = now.get(row["caller"], 0) + row["requests"]
    found = []
    for name in sorted({*now, *metered["recent"]}):
        client, _, purpose = name.partition("/")
        spans = metered["recent"].get(name, {})
        hour, day = (Span(**spans.get(span, {})) for span in ("hour", "day"))
        found.append(Asker(client, purpose, now.get(name, 0), hour, day))
    return tuple(found)


def tagged(model: str) -> str:
    """The model as Ollama names it: without a tag it is the latest."""
    return f"{model}:latest" if model and ":" not in model else model
