"""Secret values never survive in a line of output."""

from __future__ import annotations

import base64
import json
import urllib.parse

import pytest

from otobotctl.agent.mask import Mask

VALUE = "s3/cr+et é\"'\\$x"


@pytest.mark.parametrize(
    "written",
    [VALUE, json.dumps(VALUE), json.dumps(VALUE, ensure_ascii=False), urllib.parse.quote(VALUE, safe=""), repr(VALUE)],
)
def test_every_way_of_writing_a_value_is_masked(written):
    """As it is, in JSON, in a URL and as Python shows it."""
    masked = Mask([VALUE])(f"password={written};")
    assert "***" in masked
    assert "cr" not in masked


def test_the_longest_value_goes_first():
    """A value that contains another leaves no end behind."""
    assert Mask(["abc", "abcdef"])("abcdef abc") == "*** ***"


def test_a_value_of_many_lines_is_masked_line_by_line():
    """Output comes by lines, and so may a private key."""
    body = base64.b64encode(bytes(range(96))).decode()
    key = f"-----BEGIN KEY-----\n{body[:64]}\n{body[64:]}\n--\n"
    mask = Mask([key])
    assert [mask(line) for line in key.splitlines()[1:]] == ["***", "***", "--"]


def test_an_empty_value_masks_nothing():
    """An unset secret does not blot out the journal."""
    assert Mask([""])("plain") == "plain"
