"""Access tokens: one algorithm, one audience, every claim required, and no spelling but the one issued."""

from __future__ import annotations

import base64
import json
import random
import string
from datetime import UTC, datetime, timedelta
from uuid import UUID, uuid4

import jwt
import pytest

from otobotctl.vault_api.access.tokens import ISSUER, KIND, Claims, TokenError, Tokens

SECRET = "s" * 20 + "-the-current-secret-of-acme"
PREVIOUS = "p" * 20 + "-the-previous-secret-of-acme"
CLAIMS = Claims(UUID(int=1), UUID(int=2), "user", second_factor=True)
TOKENS = Tokens((SECRET, PREVIOUS), "acme")


def refused(text, tokens=TOKENS):
    with pytest.raises(TokenError) as caught:
        tokens.verify(text)
    return str(caught.value) == "" and caught.value.__suppress_context__


def content(**changes):
    """The payload of a valid token; a None takes the claim away."""
    now = datetime.now(UTC)
    made = {
        "iss": ISSUER,
        "aud": f"{ISSUER}:acme",
        "iat": now,
        "exp": now + timedelta(minutes=5),
        "sub": str(uuid4()),
        "sid": str(uuid4()),
        "role": "user",
    }
    return {name: value for name, value in (made | changes).items() if value is not None}


def signed(payload, secret=SECRET, algorithm="HS256", kind=KIND):
    return jwt.encode(payload, secret, algorithm, headers={"typ": kind})


def test_what_is_issued_is_verified():
    """The claims come back."""
    assert TOKENS.verify(TOKENS.issue(CLAIMS)) == CLAIMS
    assert TOKENS.verify(signed(content())).role == "user"


def test_a_token_lasts_fifteen_minutes():
    """A second before the end it is good, after it is not."""
    now = datetime.now(UTC)
    assert TOKENS.verify(TOKENS.issue(CLAIMS, now - timedelta(minutes=14))) == CLAIMS
    assert refused(TOKENS.issue(CLAIMS, now - timedelta(minutes=15, seconds=1)))
    assert refused(TOKENS.issue(CLAIMS, now + timedelta(minutes=5))), "not yet issued"


@pytest.mark.parametrize("claim", ["exp", "iat", "iss", "aud", "sub", "sid", "role"])
def test_every_claim_is_required(claim):
    """A correctly signed token without one of them is refused."""
    assert refused(signed(content(**{claim: None})))


@pytest.mark.parametrize(
    "changes",
    [
        {"iss": "somebody"},
        {"aud": f"{ISSUER}:other"},
        {"aud": [f"{ISSUER}:acme"]},
        {"role": "root"},
        {"role": ["admin"]},
        {"sub": "not-a-uuid"},
        {"sub": 7},
        {"sid": "x"},
        {"exp": "soon"},
        {"exp": 10**400},
        {"nbf": datetime(2199, 1, 1, tzinfo=UTC)},
    ],
)
def test_wrong_claims_are_refused(changes):
    """Another issuer, another client's vault, an unknown role, things that are no ids."""
    assert refused(signed(content(**changes)))


@pytest.mark.parametrize("algorithm", ["HS384", "HS512"])
def test_only_one_algorithm(algorithm):
    """The right secret under another algorithm does not pass."""
    assert refused(jwt.encode(content(), SECRET * 2, algorithm, headers={"typ": KIND}))
    assert refused(jwt.encode(content(), SECRET * 2, algorithm, headers={"typ": KIND}), Tokens((SECRET * 2,), "acme"))


def test_a_token_without_a_signature_is_refused():
    """`alg: none`, spelled in several ways, with and without a signature part."""
    for algorithm in ("none", "None", "NONE", ""):
        header = encoded({"alg": algorithm, "typ": KIND})
        payload = encoded({**content(iat=None, exp=None), "iat": 1, "exp": 99999999999})
        signature = TOKENS.issue(CLAIMS).rpartition(".")[2]
        for end in ("", ".", f".{signature}"):
            assert refused(f"{header}.{payload}{end}")


def test_the_kind_of_token_is_checked():
    """A token that somebody made with the same secret for another use is none of ours."""
    assert refused(signed(content(), kind="JWT"))


def test_both_secrets_are_valid_during_a_rotation_and_the_newest_signs():
    """A token of the previous secret passes until that secret goes."""
    old = Tokens((PREVIOUS,), "acme").issue(CLAIMS)
    assert TOKENS.verify(old) == CLAIMS
    assert refused(old, Tokens((SECRET,), "acme"))
    assert Tokens((SECRET,), "acme").verify(TOKENS.issue(CLAIMS)) == CLAIMS


def test_a_signature_has_one_spelling():
    """The spare bits of the last character and characters outside the alphabet do not make a second valid token."""
    text = TOKENS.issue(CLAIMS)
    alphabet = string.ascii_letters + string.digits + "-_"
    others = [text[:-1] + one for one in alphabet if one != text[-1]]
    others += [f"{text}=", f"{text}\n", f" {text}", text[:-5] + "!" + text[-5:], text.replace(".", "..", 1)]
    assert all(refused(other) for other in others)


def test_a_long_text_is_refused_before_it_is_parsed():
    """A valid token that somebody made huge is not decoded."""
    assert refused(signed(content(extra="x" * 4000)))


def test_mutated_tokens_never_pass():
    """Sixty thousand random changes of valid tokens: none passes."""
    chance = random.Random(20261121)
    text = TOKENS.issue(CLAIMS)
    passed = [other for other in (mutate(text, chance) for _ in range(60_000)) if other != text and passes(other)]
    assert passed == []


def passes(text):
    try:
        TOKENS.verify(text)
    except TokenError:
        return False
    return True


def mutate(text, chance):
    """One to three changes: a character replaced, taken out, doubled, two swapped, the end cut, parts exchanged."""
    for _ in range(chance.randint(1, 3)):
        place = chance.randrange(len(text))
        kind = chance.randrange(6)
        if kind == 0:
            text = text[:place] + chance.choice(string.printable) + text[place + 1 :]
        elif kind == 1:
            text = text[:place] + text[place + 1 :]
        elif kind == 2:
            text = text[:place] + text[place] + text[place:]
        elif kind == 3:
            text = text[:place] + text[place + 1 : place + 2] + text[place] + text[place + 2 :]
        elif kind == 4:
            text = text[: max(place, 10)]
        else:
            parts = text.split(".")
            chance.shuffle(parts)
            text = ".".join(parts)
    return text


def encoded(value):
    raw = json.dumps(value, default=str).encode()
    return base64.urlsafe_b64encode(raw).rstrip(b"=").decode()
