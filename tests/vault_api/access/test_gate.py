"""The internal and the operator's token: compared as digests, two valid during a rotation, no mutation passes."""

from __future__ import annotations

import hmac
import random
import secrets

from otobotctl.vault_api.admission import Gate
from otobotctl.vault_api.configuration import Hidden

from .test_tokens import mutate

CURRENT, PREVIOUS = secrets.token_urlsafe(48), secrets.token_urlsafe(48)
GATE = Gate((Hidden(CURRENT), Hidden(PREVIOUS)))


def test_two_tokens_are_valid_and_nothing_else():
    """Current and previous; not the empty one, a part, or both together."""
    assert GATE.admits(CURRENT.encode())
    assert GATE.admits(PREVIOUS.encode())
    for other in ("", CURRENT[:-1], CURRENT + " ", CURRENT + PREVIOUS, CURRENT.upper()):
        assert not GATE.admits(other.encode())
    assert not Gate(()).admits(b"")


def test_digests_of_one_length_are_compared_in_constant_time(monkeypatch):
    """Every valid token is compared, each by `compare_digest` over 32 bytes, whatever was presented."""
    seen = []
    real = hmac.compare_digest
    monkeypatch.setattr(hmac, "compare_digest", lambda *given: (seen.append(tuple(map(len, given))), real(*given))[1])
    for presented in (CURRENT.encode(), b"x", b""):
        seen.clear()
        GATE.admits(presented)
        assert seen == [(32, 32), (32, 32)]


def test_mutated_tokens_never_pass():
    """Ten thousand random changes of valid tokens: none passes."""
    chance = random.Random(20261121)
    mutated = (mutate(chance.choice((CURRENT, PREVIOUS)), chance) for _ in range(10_000))
    assert [one for one in mutated if one not in {CURRENT, PREVIOUS} and GATE.admits(one.encode())] == []
