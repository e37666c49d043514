"""How long files are: one that is not read in one go hides what does not belong to it."""

from __future__ import annotations

from pathlib import Path
from statistics import median

TOP = Path(__file__).parents[1]
LIMIT, MEDIAN = 400, 100


def lengths(*folders: str) -> dict[str, int]:
    """The lines of each Python file below these folders."""
    found = [path for folder in folders for path in (TOP / folder).rglob("*.py")]
    return {str(path.relative_to(TOP)): len(path.read_bytes().splitlines()) for path in found}


def test_no_file_is_long_and_half_of_the_sources_are_short() -> None:
    """Sources, tests, programs of services and tools alike: split it by what it promises, not in the middle."""
    every = lengths("otobotctl", "tests", "templates", "scripts", "benchmarks")
    assert len(every) > 900, "the folders have moved"
    assert {name: count for name, count in every.items() if count > LIMIT} == {}
    assert median(lengths("otobotctl").values()) < MEDIAN
