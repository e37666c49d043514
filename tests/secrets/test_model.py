"""A secret is never shown by accident."""

import copy
import dataclasses
import json
import logging
import pickle
import traceback
from datetime import UTC, datetime

import msgspec
import pytest
import yaml

from otobotctl.secrets import Secret, SecretSpec, mint_missing
from otobotctl.secrets.store import SecretStore, empty

VALUE = "hunter2-hunter2"


@dataclasses.dataclass
class Holder:
    secret: Secret


def store():
    held, _ = mint_missing(empty(), [], datetime.now(UTC))
    return held.with_secret(SecretSpec("A", "given", "s"), VALUE, datetime.now(UTC))


@pytest.mark.parametrize(
    "show",
    [
        repr,
        str,
        "{}".format,
        "{!r:>40}".format,
        "{:>40}".format,
        lambda held: "%s %r" % (held, held),  # noqa: UP031
        lambda held: f"{held} {[held]} { ({'a': held}) }",
        lambda held: repr(Holder(held)),
        lambda held: repr(dataclasses.asdict(Holder(held))),
        lambda held: repr(copy.deepcopy([held])),
        lambda held: repr(copy.copy(held)),
        lambda held: repr([getattr(held, name, None) for name in dir(held) if name != "reveal"]),
        lambda held: json.dumps(held, default=str),
        lambda held: logging.makeLogRecord({"msg": "%s", "args": (held,)}).getMessage(),
    ],
)
@pytest.mark.parametrize("make", [lambda: Secret("A", VALUE), store], ids=["secret", "store"])
def test_showing_never_shows_the_value(show, make):
    """Whatever prints, formats, copies or logs shows the name only."""
    held = make()
    try:
        shown = show(held)
    except TypeError as error:
        assert isinstance(held, SecretStore)  # a store refuses to be copied or padded, a secret answers with its name
        shown = str(error)
    assert VALUE not in shown


@pytest.mark.parametrize(
    "dump",
    [
        pickle.dumps,
        json.dumps,
        msgspec.json.encode,
        msgspec.to_builtins,
        yaml.safe_dump,
        yaml.dump,
        vars,
    ],
)
@pytest.mark.parametrize("make", [lambda: Secret("A", VALUE), store], ids=["secret", "store"])
def test_serialising_is_refused(dump, make):
    """What would write a value somewhere fails, and its error does not hold the value."""
    with pytest.raises((TypeError, yaml.YAMLError)) as caught:
        dump(make())
    assert VALUE not in "".join(traceback.format_exception(caught.value))


def test_a_traceback_with_local_variables_does_not_show_the_value():
    """Even tools that print each frame's variables see only the name."""
    held = Secret("A", VALUE)

    def fail(secret):
        raise RuntimeError(f"no {secret}")

    with pytest.raises(RuntimeError) as caught:
        fail(held)
    shown = traceback.TracebackException.from_exception(caught.value, capture_locals=True)
    frames = [line for line in shown.format() if "fail" in line or "held" in line]
    assert frames
    assert VALUE not in "".join(frames)


def test_a_secret_cannot_change_or_be_hashed():
    """Its value is compared in constant time, and nothing about it leaks through a set."""
    held = Secret("A", VALUE)
    assert held == Secret("A", VALUE)
    assert held != Secret("A", "other")
    assert held != Secret("B", VALUE)
    assert held != VALUE
    with pytest.raises(AttributeError):
        held.name = "B"
    with pytest.raises(AttributeError):
        del held.name
    with pytest.raises(TypeError):
        hash(held)
    assert held.reveal() == VALUE
    assert isinstance(store(), SecretStore)
