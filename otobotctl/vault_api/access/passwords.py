"""Passwords: the policy, and bcrypt off the event loop with a cap on how many wait."""

from __future__ import annotations

import asyncio
import base64
import hmac
import os
import unicodedata
from collections.abc import Callable, Iterable
from concurrent.futures import ThreadPoolExecutor
from datetime import datetime, timedelta
from typing import TypeVar

import bcrypt

ROUNDS = 12
WORKERS = max(1, (os.cpu_count() or 2) // 2)  # a hash keeps a core busy for a quarter of a second; reads need one too
WAITING = 32
MIN_CHARACTERS = 12
MAX_CHARACTERS = 256
HISTORY = 5
MAX_AGE = timedelta(days=90)
# Of a random password that nobody knows: an unknown user costs what a known one costs.
_DUMMY = "$2b${rounds:02d}$HUtSBCLBlisTwYXn/EP4Je37Nut0RUijaaY7df/B6FmS1ui4SQVfq"
_PEPPERLESS = b"otobot-vault-password-1"

T = TypeVar("T")


class BusyError(Exception):
    """More passwords wait to be checked than the cap allows; the caller may try again in a second."""


def findings(password: str, *about: str) -> tuple[str, ...]:
    """Return what the policy has against a new password, nothing when it will do; no finding quotes it.

    `about` are words that it may not contain, such as the user's name or e-mail address.
    """
    found = []
    if not MIN_CHARACTERS <= len(password) <= MAX_CHARACTERS:
        found.append(f"the password must have {MIN_CHARACTERS} to {MAX_CHARACTERS} characters")
    kinds: tuple[tuple[str, Callable[[str], bool]], ...] = (
        ("an upper-case letter", str.isupper),
        ("a lower-case letter", str.islower),
        ("a digit", str.isdigit),
        ("a character that is neither letter nor digit", lambda one: not one.isalnum() and one.isprintable()),
    )
    found += [f"the password must have {name}" for name, fits in kinds if not any(map(fits, password))]
    if any(unicodedata.category(one) in {"Cc", "Cs"} for one in password):
        found.append("the password must not have control characters")
    lowered = password.lower()
    words = {part.lower() for text in about for part in (text, *text.replace("@", " ").split())}
    if any(len(word) > 3 and word in lowered for word in words):  # noqa: PLR2004 - shorter words are in any text
        found.append("the password must not contain the user's name or e-mail address")
    return tuple(found)


def expired(changed_at: datetime | None, now: datetime) -> bool:
    """Whether the password has to be replaced: too old, or set by somebody else (no date)."""
    return changed_at is None or now - changed_at > MAX_AGE


def digest(password: str) -> bytes:
    """Return what bcrypt sees: 44 bytes, whatever the length, because bcrypt takes 72 bytes and no zero byte.

    The key keeps these digests apart from SHA-256 lists of other breaches. Composed and decomposed accents are
    the same password.
    """
    text = unicodedata.normalize("NFKC", password).encode("utf-8", "surrogatepass")
    return base64.b64encode(hmac.digest(_PEPPERLESS, text, "sha256"))


class Passwords:
    """Hashes and checks in threads of its own (bcrypt frees the interpreter lock). Close it at the end."""

    def __init__(self, rounds: int = ROUNDS, workers: int = WORKERS, waiting: int = WAITING) -> None:
        self._rounds = rounds
        self._dummy = _DUMMY.format(rounds=rounds).encode()
        self._limit = workers + waiting
        self._inside = 0
        self._threads = ThreadPoolExecutor(workers, thread_name_prefix="password")

    def close(self) -> None:
        """Let the running ones end; forget those that wait."""
        self._threads.shutdown(wait=False, cancel_futures=True)

    async def hash(self, password: str) -> str:
        """Return the bcrypt hash of a password. Raises BusyError."""
        salted = await self._run(lambda: bcrypt.hashpw(digest(password), bcrypt.gensalt(self._rounds)))
        return salted.decode()

    async def verify(self, password: str, stored: str | None) -> bool:
        """Whether this is the password of a stored hash; with None (no such user) the same work, then False.

        Raises:
            BusyError: too many wait.
        """
        against = stored.encode() if stored else self._dummy
        same = await self._run(lambda: _check(password, against))
        return same and stored is not None

    async def used_before(self, password: str, stored: Iterable[str]) -> bool:
        """Whether it is one of these. Raises BusyError."""
        for one in stored:
            if await self.verify(password, one):
                return True
        return False

    async def _run(self, work: Callable[[], T]) -> T:
        if self._inside >= self._limit:
            raise BusyError
        self._inside += 1
        try:
            return await asyncio.get_running_loop().run_in_executor(self._threads, work)
        finally:
            self._inside -= 1


def _check(password: str, stored: bytes) -> bool:
    try:
        return bcrypt.checkpw(digest(password), stored)
    except ValueError:  # not a bcrypt hash: an emptied account
        return False
