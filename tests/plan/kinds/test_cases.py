"""Every file in cases/ is one kind, every entry one case: params and facts of a host -> the expected changes.

An entry has `case` (its claim) and `params`, and then any of:
    facts + changes     each expected change names the fields it cares about; their number and order count; [] = it matches
    error               a regular expression: the params are refused
    question, title, commands, touches, watches, wire      what the methods of those names return
"""

from __future__ import annotations

import dataclasses
import re
from pathlib import Path

import msgspec
import pytest

from otobotctl.plan.kinds import spec_class
from otobotctl.render.document import parse_yaml

FOLDER = Path(__file__).parent / "cases"
CASES = [
    pytest.param(path.stem, case, id=f"{path.stem}: {case['case']}")
    for path in sorted(FOLDER.glob("*.yaml"))
    for case in parse_yaml(path.read_text(encoding="utf-8"), path.name)
]
METHODS = ("question", "title", "commands", "touches", "watches", "wire")


@pytest.mark.parametrize(("kind", "case"), CASES)
def test_case(kind, case):
    """The spec does what its case file says."""
    unknown = set(case) - {"case", "params", "facts", "changes", "error", *METHODS}
    assert not unknown, f"this runner does not know {unknown}"
    if "error" in case:
        with pytest.raises(msgspec.ValidationError, match=case["error"]):
            msgspec.convert(case["params"], spec_class(kind))
        return
    spec = msgspec.convert(case["params"], spec_class(kind))
    assert spec.kind == kind
    if "changes" in case:
        check_changes(spec.compare(case["facts"]), case["changes"])
    for method in METHODS:
        if method in case:
            assert msgspec.json.decode(msgspec.json.encode(getattr(spec, method)())) == case[method]


def check_changes(changes, expected):
    found = [dataclasses.asdict(change) for change in changes]
    assert [change["what"] for change in found] == [change["what"] for change in expected], found
    for change, wanted in zip(found, expected, strict=True):
        assert {name: change[name] for name in wanted} == wanted


def test_every_case_file_names_a_kind():
    """A misspelt case file would test nothing."""
    for path in FOLDER.iterdir():
        assert path.suffix == ".yaml"
        assert re.fullmatch("[a-z_]+", path.stem)
        assert spec_class(path.stem).kind == path.stem
