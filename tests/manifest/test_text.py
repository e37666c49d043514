"""Edits of JSON text."""

import json

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from otobotctl.manifest import text

NAMES = st.text(min_size=0, max_size=6)
VALUES = st.recursive(
    st.none() | st.booleans() | st.integers(-9, 99999) | st.floats(allow_nan=False, allow_infinity=False) | st.text(max_size=8),
    lambda inner: st.lists(inner, max_size=3) | st.dictionaries(NAMES, inner, max_size=3),
    max_leaves=8,
)  # fmt: skip
DOCUMENTS = st.dictionaries(NAMES, VALUES | st.dictionaries(NAMES, VALUES, max_size=4), max_size=4)
STYLES = st.sampled_from(
    [
        {"indent": 2},
        {"indent": 4},
        {"indent": "\t"},
        {"indent": 2, "ensure_ascii": False},
        {"indent": 2, "separators": (",", " : ")},
        {},
        {"separators": (",", ":")},
    ]
)
ENDS = st.sampled_from(["", "\n", "\n\n"])


def styled(document, style, end, crlf):
    raw = json.dumps(document, **style) + end
    return raw.replace("\n", "\r\n") if crlf else raw


@settings(max_examples=150, deadline=None)
@given(DOCUMENTS, STYLES, ENDS, st.booleans(), NAMES, VALUES, st.data())
def test_an_edited_text_says_what_the_edited_document_says(document, style, end, crlf, name, value, data):
    """Putting and removing, one or two levels deep, in any style, changes exactly that."""
    raw = styled(document, style, end, crlf)
    objects = [()] + [(key,) for key, inner in document.items() if isinstance(inner, dict)]
    parent = data.draw(st.sampled_from(objects))
    edited = text.put(raw, (*parent, name), value)
    holder = document[parent[0]] if parent else document
    wanted = {**holder, name: value}
    whole = {**document, parent[0]: wanted} if parent else wanted
    assert json.loads(edited) == whole
    assert list(json.loads(edited)) == list(whole)
    assert edited.endswith(raw[len(raw.rstrip()) :])
    if crlf:
        assert "\n" not in edited.replace("\r\n", "")
    if name not in holder:
        removed = text.remove(edited, (*parent, name))
        assert json.loads(removed) == document
        if holder:
            assert removed == raw


@settings(max_examples=80, deadline=None)
@given(DOCUMENTS, STYLES, ENDS, st.booleans(), NAMES, VALUES)
def test_untouched_entries_keep_their_bytes(document, style, end, crlf, name, value):
    """The text before and after the changed entry is the same text."""
    raw = styled(document, style, end, crlf)
    edited = text.put(raw, (name,), value)
    entries = {key: json.dumps(key, **style) for key in document if key != name}
    spans = {item.name: raw[item.start : item.end] for item in text._items(raw, raw.index("{"))}
    after = {item.name: edited[item.start : item.end] for item in text._items(edited, edited.index("{"))}
    assert {key: after[key] for key in entries} == {key: spans[key] for key in entries}


@pytest.mark.parametrize("unit", ["  ", "    ", "\t"])
def test_a_new_entry_looks_like_its_neighbours(unit):
    """Indentation and the style of lists are those of a person who writes the file by hand."""
    raw = f'{{\n{unit}"hosts": {{}},\n{unit}"clients": {{\n{unit * 2}"a": {{"n": 1}}\n{unit}}}\n}}\n'
    edited = text.put(text.put(raw, ("hosts", "h"), {"address": "x", "tags": ["a", "b"]}), ("clients", "b"), {"n": 2})
    assert edited == (
        f'{{\n{unit}"hosts": {{\n{unit * 2}"h": {{\n{unit * 3}"address": "x",\n{unit * 3}"tags": ["a", "b"]\n{unit * 2}}}\n{unit}}},\n'
        f'{unit}"clients": {{\n{unit * 2}"a": {{"n": 1}},\n{unit * 2}"b": {{\n{unit * 3}"n": 2\n{unit * 2}}}\n{unit}}}\n}}\n'
    )


def test_a_list_grows_at_its_end():
    """Appending keeps the form of the list, and makes it where it is missing."""
    assert text.append('{"r": ["a"]}', ("r",), "b") == '{"r": ["a", "b"]}'
    assert text.append('{\n  "r": [\n    "a"\n  ]\n}\n', ("r",), "b") == '{\n  "r": [\n    "a",\n    "b"\n  ]\n}\n'
    assert text.append('{\n  "r": []\n}\n', ("r",), "b") == '{\n  "r": [\n    "b"\n  ]\n}\n'
    assert json.loads(text.append("{}", ("r",), "b")) == {"r": ["b"]}


def test_brackets_in_text_are_not_brackets():
    """Keys and values may hold every character that JSON text may."""
    document = {'a"}{': {"]": "\\", "x": '"]'}, "b": []}
    raw = json.dumps(document, indent=2)
    assert json.loads(text.put(raw, ('a"}{', "new"), 1)) == {'a"}{': {"]": "\\", "x": '"]', "new": 1}, "b": []}


def test_removing_what_is_not_there_is_an_error():
    """An edit that has nothing to do does not pass for done."""
    with pytest.raises(KeyError):
        text.remove("{}", ("a",))
