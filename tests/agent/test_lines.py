"""Lines of JSON, as `json` itself reads and writes them."""

from __future__ import annotations

import json
import math
import subprocess
import sys

import pytest
from hypothesis import given
from hypothesis import strategies as st

from otobotctl.agent import lines, sums
from otobotctl.agent.protocol import facts_digest

_SCALARS = st.none() | st.booleans() | st.integers() | st.floats(allow_nan=False) | st.text()
_RECORDS = st.dictionaries(
    st.text(), st.recursive(_SCALARS, lambda inner: st.lists(inner) | st.dictionaries(st.text(), inner), max_leaves=20)
)
_BOTH = {"quick": lines._quick, "slow": lines._slow}


@given(record=_RECORDS)
def test_lines_are_those_of_json(record):
    """Written and read, by Python's own insides and by `json`, with every character."""
    for how, parts in _BOTH.items():
        decode, encode, canonical = parts()
        assert encode(record) == json.dumps(record, separators=(",", ":")), how
        assert canonical(record) == json.dumps(record, separators=(",", ":"), sort_keys=True), how
        assert decode(json.dumps(record, indent=1)) == record, how
        assert decode(json.dumps(record, ensure_ascii=False)) == record, how


@pytest.mark.parametrize("how", _BOTH)
@pytest.mark.parametrize("text", ["", "{", '{"a":1} {}', '{"a":1}x', "nothing", "{'a': 1}", '{"a":"\n"}', "[1,]"])
def test_what_is_not_one_value_is_refused(how, text):
    """With the error that every caller expects."""
    with pytest.raises(ValueError):
        _BOTH[how]()[0](text)


def test_numbers_come_back_as_they_are():
    """Also what only Python calls a number."""
    for decode, encode, _ in (lines._quick(), lines._slow()):
        assert math.isnan(decode("NaN"))
        assert decode(encode(2**70)) == 2**70
        assert decode("-Infinity") == -math.inf


def test_a_record_holds_nothing_else():
    """An object of ours is a mistake, not text."""
    for _, encode, _ in (lines._quick(), lines._slow()):
        with pytest.raises(TypeError):
            encode({"a": object()})


def test_another_python_uses_json_itself(monkeypatch):
    """One whose insides are not as expected, or tell something else."""
    monkeypatch.setitem(sys.modules, "_json", None)
    decode, encode, _ = lines._chosen()
    assert decode(encode({"a": "\u00e9"})) == {"a": "\u00e9"}


def test_this_python_has_the_quick_ones():
    """Or every look on a Python like this one would be slower than it is said to be."""
    program = "import sys; from otobotctl.agent import lines; sys.exit('json' in sys.modules)"
    subprocess.run([sys.executable, "-c", program], check=True)


def test_sums_are_those_of_hashlib():
    """With OpenSSL and without, and the digest of facts has not moved: running hosts have it in their journals."""
    import hashlib

    for data in (b"", b"otobot", bytes(3 << 20)):
        assert sums.sha256(data, len(data)).hexdigest() == hashlib.sha256(data).hexdigest()
    facts = {"b": [1, None, "\u00e9"], "a": True, "_moves": 1}
    text = '{"a":true,"b":[1,null,"\\u00e9"]}'
    assert facts_digest(facts) == hashlib.sha256(text.encode()).hexdigest()[:32]
