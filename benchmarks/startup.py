"""How long `otobotctl --help` takes beside a bare Python: `python -m benchmarks.startup`. Rounds alternate."""

from __future__ import annotations

import statistics
import subprocess
import sys
import time
from pathlib import Path

_COMMANDS = {
    "python -c pass": (sys.executable, "-c", "pass"),
    "otobotctl --help": (str(Path(sys.executable).with_name("otobotctl")), "--help"),
    "otobotctl --version": (str(Path(sys.executable).with_name("otobotctl")), "--version"),
}
_ROUNDS = 15


def main() -> None:
    """Measure and print medians, the difference to bare Python and the ratio."""
    took: dict[str, list[float]] = {name: [] for name in _COMMANDS}
    for _ in range(_ROUNDS):
        for name, argv in _COMMANDS.items():
            begun = time.perf_counter()
            subprocess.run(argv, stdin=subprocess.DEVNULL, stdout=subprocess.DEVNULL, check=True)
            took[name].append(time.perf_counter() - begun)
    bare = statistics.median(took["python -c pass"])
    print("| command | median | over bare Python | ratio |\n|---|---|---|---|")
    for name, times in took.items():
        median = statistics.median(times)
        print(f"| `{name}` | {median * 1000:.0f} ms | {(median - bare) * 1000:.0f} ms | {median / bare:.1f}x |")


if __name__ == "__main__":
    main()
