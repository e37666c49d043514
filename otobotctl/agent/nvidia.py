"""NVIDIA's cards on this host: what is there, and how it is. Parsing is pure; the texts come from programs."""

from __future__ import annotations

from typing import Any, Dict, List, Optional

from otobotctl.agent.shell import ask

TEXTS = ("uuid", "name", "driver_version", "pstate", "mig.mode.current")
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
_HANDLE = "Unable to determine the device handle"  # what it says of a card that the driver has lost, beside the others
_BROKEN = ("GPU is lost", "GPU requires reset", "Unknown Error", "ERR!")
_UNKNOWN = ("N/A", "Unknown Error", "ERR!")


def cards() -> List[Dict[str, Any]]:
    """Each card as `parse` tells it; none where there is no driver that answers.

    Whatever its exit status says: with one card broken among others it is an error, and it tells of those others.
    """
    said = ask(QUERY)
    return parse(said.stdout + "\n" + said.stderr)


def room(machine: int) -> int:
    """The bytes that a model may take: of each whole card's memory, none of one that is broken or cut in slices (MIG).

    A card that tells of no memory has the machine's own, of `machine` bytes (GB10).
    """
    whole = [card for card in cards() if not card["trouble"] and card["mig.mode.current"] != "Enabled"]
    if any(card["memory.total"] is None for card in whole):
        return machine
    return sum(int(card["memory.total"]) * _MIB for card in whole)


def parse(text: str) -> List[Dict[str, Any]]:
    """One card a line of nvidia-smi's CSV, by field; what it does not know ([N/A], [Not Supported], ...) is None.

    Memory is in MiB, power in W, temperature in degrees Celsius, utilisation in per cent. `trouble` is why a card
    cannot be used, "" for one that can. A line that is no card's is left out: nvidia-smi mixes warnings in.
    """
    found = []  # type: List[Dict[str, Any]]
    lost = [line.strip() for line in text.splitlines() if line.strip().startswith(_HANDLE)]
    for line in text.splitlines():
        words = _words(line)
        if words and words[0].startswith(("GPU-", "MIG-")):
            found.append(_card(words, _trouble(words)))
        elif words and all(word.startswith("[") for word in words):
            found.append(_card(words, lost.pop(0) if lost else words[0].strip("[]")))
    return found + [_card([""] * len(FIELDS), said) for said in lost]


def _words(line: str) -> List[str]:
    """The line's fields; the only one that may have a comma in it is the card's name."""
    words = [word.strip() for word in line.split(",")]
    more = len(words) - len(FIELDS)
    if more < 0:
        return []
    place = FIELDS.index("name")
    return [*words[:place], ", ".join(words[place : place + more + 1]), *words[place + more + 1 :]]


def _trouble(words: List[str]) -> str:
    """Lost, or to be reset: then no field tells anything. One field alone that is an error is a driver's weakness."""
    told = dict(zip(FIELDS, words))
    seen = [told[name].strip("[]") for name in ("temperature.gpu", "memory.used")]
    return seen[0] if all(word in _BROKEN for word in seen) else ""


def _card(words: List[str], trouble: str) -> Dict[str, Any]:
    card = dict(zip(FIELDS, words), trouble=trouble)  # type: Dict[str, Any]
    for name in FIELDS:
        card[name] = number(card[name]) if name in NUMBERS else known(card[name])
    return card


def known(word: str) -> Optional[str]:
    """The word, or None for what nvidia-smi says instead of one."""
    return None if not word or word.startswith("[") or word in _UNKNOWN else word


def number(word: str) -> Optional[float]:
    """The number, with or without its unit, or None."""
    try:
        found = float(word.rstrip(" %MiBW"))
    except ValueError:
        return None
    return found if abs(found) < float("inf") else None  # neither nan nor inf is a measurement
