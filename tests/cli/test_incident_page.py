"""`incident report --html`: one file that tells the whole incident, safe to open and to hand on."""

from __future__ import annotations

import re
from html.parser import HTMLParser

import pytest

from otobotctl.cli import main as cli
from otobotctl.cli.human.incident_page import page
from tests.incidents.test_summary import BLOCK, told
from tests.workflows.fleets import made

AT = "2026-11-21T19:00:00+00:00"
EVIL = '<script>alert("x")</script>'


class Read(HTMLParser):
    """What a browser makes of it: tags, attributes, text; every element is closed in its turn."""

    def __init__(self, text: str):
        super().__init__()
        self.tags, self.links, self.text, self.open = set(), [], [], []
        self.feed(text)
        assert self.open == []

    def handle_starttag(self, tag, attrs):
        self.tags.add(tag)
        self.links += [value for name, value in attrs if name in {"src", "href"}]
        if tag != "meta":
            self.open.append(tag)

    def handle_endtag(self, tag):
        assert self.open.pop() == tag

    def handle_data(self, data):
        self.text.append(data)


def text_of(found):
    return "\n".join(Read(page(found, AT)).text)


def test_it_tells_the_story_what_remains_and_the_notice():
    """All that the words of the same command tell: acts with their ends, numbered duties, both halves of the notice."""
    noted = ("noted", "note", "counted them", {"told": {"people": "2"}, "settled": ["rotate"]})
    begun = ("begun", "isolate", "vps-1", {})
    found = told(*BLOCK, noted, begun)
    text = text_of(found)
    for words in (
        "Incident 2026-11-21-1: an intrusion", "block-ip 198.51.100.7 on vps-1", "done", "interrupted", "read the log",
        "72 hours end 2026-11-24T09:00:00+00:00", "62 hours left", "counted them", "people", "Not known yet",
        "Measures taken", "every line is as it was written", AT,
    ):  # fmt: skip
        assert words in text, words
    assert "rotate" not in text
    assert text.count("isolate vps-1") == 2  # in the story, and as what nobody knows the end of


def test_a_record_that_was_changed_is_said_first():
    """Before the story, which cannot be believed from there on."""
    text = text_of(told(*BLOCK, broken=2))
    assert text.index("line 2 of its records is not as it was written") < text.index("What was done")
    assert "every line is as it was written" not in text


def test_what_people_wrote_is_text():
    """In the title, a note, what was told, what remains; and the page needs and runs nothing."""
    evil = ("noted", "note", EVIL, {"told": {"nature": EVIL}, "remaining": [EVIL], "seen": {EVIL: EVIL}})
    read = Read(page(told(evil), AT))
    assert "script" not in read.tags
    assert read.links == []
    assert "".join(read.text).count(EVIL) == 5
    assert not re.search(r"url\(|@import", page(told(evil), AT))


@pytest.fixture
def fleet(tmp_path, monkeypatch, capsys):
    """A fleet with one incident."""
    here = made(monkeypatch, tmp_path / "home", tmp_path / "fleet", {}, {})
    assert cli.main(["incident", "open", "an intrusion", "--fleet", str(here.root)]) == 0
    capsys.readouterr()
    return here


def test_the_command_writes_it_for_its_owner_alone(fleet, tmp_path, capsys):
    """What people noted may be personal data; the answer on stdout is the same as without."""
    file = tmp_path / "report.html"
    assert cli.main(["incident", "report", "--html", str(file), "--fleet", str(fleet.root)]) == 0
    said = capsys.readouterr()
    assert f"wrote {file}" in said.err
    assert said.out.startswith("Incident ")
    assert file.stat().st_mode & 0o777 == 0o600
    assert "an intrusion" in "".join(Read(file.read_text()).text)


def test_a_changed_record_is_exit_code_4_and_on_the_page(fleet, tmp_path):
    """The page is written all the same: it says so itself."""
    (record,) = (fleet.root / "incidents").glob("*.jsonl")
    record.write_text(record.read_text().replace("an intrusion", "nothing at all"))
    file = tmp_path / "report.html"
    assert cli.main(["incident", "report", "--html", str(file), "--fleet", str(fleet.root)]) == 4
    assert "line 1 of its records is not as it was written" in "".join(Read(file.read_text()).text)


def test_a_place_that_cannot_be_written_is_told(fleet, tmp_path, capsys):
    """Exit code 2, and what to do."""
    assert cli.main(["incident", "report", "--html", str(tmp_path), "--fleet", str(fleet.root)]) == 2
    assert "name another file" in capsys.readouterr().err
