"""The second try of a file of tests: whole and alone, in a process of its own, and told in the summary.

`scripts/test` runs for most of an hour on whatever machine there is. A file that failed there may have met a stall of the
machine; what is broken fails twice, and much that fails at once is not tried again at all. A test of the lab has its own
second try before (see lab/fixtures.py): from the disks that the first one found.
"""

from __future__ import annotations

import json
import os
import sys
from pathlib import Path
from typing import Any

from tests.lab.fixtures import said

FAILED, TRIED = "OTOBOT_TESTS_FAILED", "OTOBOT_TESTS_TRIED"  # where to write what failed; where that was written
_MOST = 2  # files


def note(reporter: Any) -> None:
    """Write what failed to the file that $OTOBOT_TESTS_FAILED names, if any."""
    if place := os.environ.get(FAILED):
        found = [
            {"test": report.nodeid, "when": report.when, "said": said(report.longreprtext)}
            for kind in ("failed", "error")
            for report in reporter.stats.get(kind, [])
            if hasattr(report, "when")
        ]
        Path(place).write_text(json.dumps(found))


def tell(reporter: Any) -> None:
    """Say what failed in the run before, where this is the second try."""
    if place := os.environ.get(TRIED):
        for each in json.loads(Path(place).read_text()):
            line = f"tried again with all of its file: {each['test']} ({each['when']}): {each['said']}"
            reporter.write_line(line, yellow=True)


def files(place: Path) -> list[str]:
    """The files that are worth a second try, in the order in which they failed; none where too much failed."""
    try:
        found = dict.fromkeys(each["test"].partition("::")[0] for each in json.loads(place.read_text()))
    except (OSError, ValueError):
        return []
    return list(found) if len(found) <= _MOST else []


if __name__ == "__main__":
    again = files(Path(sys.argv[1]))
    print(*again, sep="\n")
    sys.exit(0 if again else 1)
