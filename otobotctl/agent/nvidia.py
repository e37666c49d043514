"""NVIDIA's cards on this host: what is there, and how it is. Parsing is pure; the texts come from programs."""

from __future__ import annotations

from typing import Any, Dict, List, Optional

from otobotctl.agent.shell import ask

TEXTS = ("uuid", "name", "driver_version", "pstate")
NUMBERS = (
    "index",
    "temperature.gpu",
    "utilization.gpu",
    "memory.total",
    "memory.used",
    "power.draw",
    "power.limit",
    "ecc.errors.uncorrected.volatile.total",
)
FIELDS = TEXTS + NUMBERS
QUERY = ("nvidia-smi", "--query-gpu=" + ",".join(FIELDS), "--format=csv,noheader,nounits")
_MIB = 1 << 20


def cards() -> List[Dict[str, Any]]:
    """Each card as `parse` tells it; none where there is no driver that answers."""
    said = ask(QUERY)
    return parse(said.stdout) if said.status == 0 else []


def memory() -> List[int]:
    """The bytes of each card's memory; a card that does not tell (shared memory, MIG) counts as none."""
    return [int(card["memory.total"]) * _MIB for card in cards() if card["memory.total"] is not None]


def parse(text: str) -> List[Dict[str, Any]]:
    """One card a line of nvidia-smi's CSV, by field; what it does not know ([N/A], [Not Supported], ...) is None.

    Memory is in MiB, power in W, temperature in degrees Celsius, utilisation in per cent. A line that is no card's
    is left out: nvidia-smi mixes warnings in.
    """
    found = []
    for line in text.splitlines():
        words = [word.strip() for word in line.split(",")]
        if len(words) == len(FIELDS) and words[0].startswith(("GPU-", "MIG-")):
            card = dict(zip(FIELDS, words))  # type: Dict[str, Any]
            for name in FIELDS:
                card[name] = number(card[name]) if name in NUMBERS else known(card[name])
            found.append(card)
    return found


def known(word: str) -> Optional[str]:
    """The word, or None for what nvidia-smi says instead of one."""
    return None if not word or word.startswith("[") or word in ("N/A", "Unknown Error") else word


def number(word: str) -> Optional[float]:
    """The number, or None."""
    try:
        return float(word)
    except ValueError:
        return None
