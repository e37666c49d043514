"""What the demo claims, proved one by one, and the table at its end."""

from __future__ import annotations

import sys
import time
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass

WIDEST = 80  # characters of evidence in the table; the story has all of them


class NotProvedError(Exception):
    """A claim did not hold; the text says what was seen instead."""


@dataclass
class Proof:
    """One claim. `evidence` is what was seen, set while it is proved."""

    claim: str
    evidence: str = ""
    took_s: float = 0.0
    held: bool = False


class Story:
    """Proves claims in order and keeps the record. The first claim that fails ends the story."""

    def __init__(self, began: float) -> None:
        self._began = began
        self.target = "none yet"
        self.proofs: list[Proof] = []

    def chapter(self, title: str) -> None:
        """Say what comes now."""
        self.say(f"\n{title}")

    def say(self, text: str) -> None:
        """One line for the reader."""
        sys.stdout.write(f"{text}\n")
        sys.stdout.flush()

    @contextmanager
    def proof(self, claim: str) -> Iterator[Proof]:
        """Prove a claim in the block, and time it. What the block raises is noted and goes on."""
        one = Proof(claim)
        self.proofs.append(one)
        started = time.monotonic()
        try:
            yield one
            one.held = True
        except KeyboardInterrupt:
            one.evidence = "interrupted"
            raise
        except Exception as error:
            one.evidence = f"{error}".strip().partition("\n")[0][:200] or type(error).__name__
            raise
        finally:
            one.took_s = time.monotonic() - started
            mark = "proved" if one.held else "FAILED"
            self.say(f"  {mark}  {one.claim}: {one.evidence} ({one.took_s:.1f} s)")

    @property
    def held(self) -> bool:
        """Whether everything claimed so far was proved."""
        return bool(self.proofs) and all(proof.held for proof in self.proofs)

    def table(self) -> str:
        """The record: one row a claim, then the total."""
        rows = [("", "what was proved", "by", "seconds")]
        rows += [
            ("ok" if proof.held else "FAILED", proof.claim, proof.evidence[:WIDEST], f"{proof.took_s:.1f}")
            for proof in self.proofs
        ]
        total = sum(proof.held for proof in self.proofs)
        took_s = time.time() - self._began
        rows.append(("", f"{total} of {len(self.proofs)} proved", f"target: {self.target}", f"{took_s:.1f}"))
        widths = [max(len(row[column]) for row in rows) for column in range(3)]
        lines = [
            "  ".join(cell.ljust(width) for cell, width in zip(row, widths, strict=False)) + f"  {row[3]:>7}"
            for row in rows
        ]
        rule = "-" * max(map(len, lines))
        return "\n".join((lines[0], rule, *lines[1:-1], rule, lines[-1]))


def require(condition: object, otherwise: str) -> None:
    """Raise NotProvedError where a claim does not hold; `otherwise` holds no secret."""
    if not condition:
        raise NotProvedError(otherwise)
