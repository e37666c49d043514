"""The same job by otobotctl, pyinfra, Ansible and one raw ssh script, near and far: `python -m benchmarks.converge`.

Every tool makes the same thirty-odd resources (job.py) on the same hosts in one run. Cold: nothing of it is there.
No-op: all of it is. Rounds go through all tools in turn, so that a busy moment hits each alike; medians are told.
"""

from __future__ import annotations

import argparse
import json
import os
import signal
import statistics
import sys
import tempfile
import time
from collections import defaultdict
from concurrent.futures import ThreadPoolExecutor
from contextlib import ExitStack
from dataclasses import asdict, dataclass
from hashlib import sha256
from pathlib import Path
from typing import TYPE_CHECKING

from benchmarks import calm, job, peers, tools, where

if TYPE_CHECKING:
    from collections.abc import Sequence

# Ansible's apt module needs them on the host; it would install them by itself in its first run.
_APT_BINDINGS = """
python3 -c 'import apt' 2>/dev/null && exit
{ apt-get -qq update && apt-get -qqy install python3-apt; } >/dev/null 2>&1
"""
_CALM_LIMIT_S = 20.0
_TOOLS = ("raw", "raw-open", "otobotctl", "otobotctl-open", "pyinfra", "ansible")


@dataclass(frozen=True)
class Measured:
    """One timed run."""

    tool: str
    hosts: int
    round_trip_ms: float
    case: str  # "cold" or "no-op"
    took_s: float
    own: dict[str, float]
    busy: bool  # the machine had other work when it began


def build(names: Sequence[str], work: Path) -> list[tools.Tool]:
    """The chosen tools, each with a folder of its own."""
    made: list[tools.Tool] = []
    for name in names:
        folder = work / name
        folder.mkdir()
        if name in {"pyinfra", "ansible"}:
            made.append({"pyinfra": tools.Pyinfra, "ansible": tools.Ansible}[name](folder, peers.environment()))
        else:
            kinds = {
                "raw": tools.Raw,
                "raw-open": tools.RawShared,
                "otobotctl": tools.Otobotctl,
                "otobotctl-open": tools.OtobotctlShared,
            }
            made.append(kinds[name](folder))
    return made


def everywhere(places: Sequence[where.Place], script: str) -> list[str]:
    """Run a script on every host, not measured."""
    with ThreadPoolExecutor(len(places)) as pool:
        return list(pool.map(lambda place: place.sh(script), places))


def measure(
    chosen: Sequence[tools.Tool], near: Sequence[where.Place], ms: float, rounds: int, slow_rounds: int
) -> list[Measured]:
    """All tools at one distance; the slow ones join the first `slow_rounds`. What each made is checked."""
    found: list[Measured] = []
    with where.delayed(near, ms) as places:
        for tool in chosen:
            tool.prepare(places)
        for number in range(rounds):
            for tool in (tool for tool in chosen if number < slow_rounds or not tool.slow):
                everywhere(near, job.UNDO)
                for case in ("cold", "no-op"):
                    busy = not calm.wait(_CALM_LIMIT_S)
                    begun = time.perf_counter()
                    own = tool.run(places)
                    took_s = time.perf_counter() - begun
                    check(tool, everywhere(near, job.CHECK), own, case)
                    found.append(Measured(tool.name, len(near), ms, case, took_s, own, busy))
                    progress(found[-1])
                tool.forget(places)
    return found


def check(tool: tools.Tool, sums: Sequence[str], own: dict[str, float], case: str) -> None:
    """A tool that did not do the job, or did it twice, has no time to show."""
    files = sorted((file.path, sha256(file.content.encode()).hexdigest()) for file in job.FILES)
    expected = "".join(f"{digest}  {path}\n" for path, digest in files)
    if any(found != expected for found in sums):
        raise SystemExit(f"{tool.name}: the host is not what the job says\n{sums[0]}")
    if case == "no-op" and own.get("changed", 0):
        raise SystemExit(f"{tool.name}: changed something on a host that matched")


def progress(one: Measured) -> None:
    """One line on stderr while it goes on."""
    own = "  ".join(f"{name} {value:.3g}" for name, value in one.own.items())
    where_and_what = f"{one.hosts:>2} x {one.round_trip_ms:>3.0f} ms {one.case:5} {one.tool:28}"
    print(f"  {where_and_what} {one.took_s:7.2f} s  {own}{'  BUSY' if one.busy else ''}", file=sys.stderr)


def _cell(one: Measured) -> tuple[str, int, float, str]:
    return one.tool, one.hosts, one.round_trip_ms, one.case


def table(found: Sequence[Measured]) -> str:
    """Markdown: median seconds, and in brackets how many times the raw script's."""
    groups: dict[tuple[int, float, str], dict[str, list[float]]] = defaultdict(lambda: defaultdict(list))
    calm_ones = {_cell(one) for one in found if not one.busy}
    for one in found:
        if one.busy and _cell(one) in calm_ones:
            continue  # better measured otherwise
        column = groups[one.hosts, one.round_trip_ms, one.case]
        column[one.tool].append(one.took_s)
        if "engine_s" in one.own:
            column[f"{one.tool}: engine alone"].append(one.own["engine_s"])
    names = list(dict.fromkeys(name for column in groups.values() for name in column))
    heads = [f"{hosts} x {ms:.0f} ms, {case}" for hosts, ms, case in groups]
    lines = ["| tool | " + " | ".join(heads) + " |", "|---" * (len(heads) + 1) + "|"]
    for name in names:
        cells = []
        for column in groups.values():
            if name not in column:
                cells.append("")
                continue
            median = statistics.median(column[name])
            raw = statistics.median(column["raw ssh"]) if "raw ssh" in column else None
            cells.append(f"{median:.2f}" + (f" ({median / raw:.2f}x)" if raw else ""))
        lines.append(f"| {name} | " + " | ".join(cells) + " |")
    return "\n".join(lines)


def main() -> None:
    """Parse, measure, print."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--hosts", type=int, nargs="+", default=[1], help="how many at a time (default 1)")
    parser.add_argument("--round-trips", type=float, nargs="+", default=[0, 20, 80], metavar="MS")
    parser.add_argument("--rounds", type=int, default=5)
    parser.add_argument("--slow-rounds", type=int, default=2, help="how many of them pyinfra and Ansible take part in")
    parser.add_argument("--tools", nargs="+", choices=_TOOLS, default=_TOOLS)
    parser.add_argument(
        "--host", action="append", metavar="ADDRESS[:PORT]", help="a host to use as root, instead of the lab's"
    )
    parser.add_argument("--key", type=Path, help="the private key for --host")
    parser.add_argument("--json", type=Path, help="write every single time here")
    options = parser.parse_args()
    if options.host and not options.key:
        parser.error("--host needs --key")
    signal.signal(signal.SIGTERM, lambda *_: sys.exit(143))  # so that the hosts are taken down
    with ExitStack() as stack:
        work = Path(stack.enter_context(tempfile.TemporaryDirectory(prefix="ob-")))
        os.environ["XDG_RUNTIME_DIR"] = str(work)  # otobotctl's sockets stay apart from the operator's
        chosen = build(options.tools, work)
        most = max(options.hosts)
        given = where.given_places(options.host, options.key, work) if options.host else where.lab_places(most, work)
        places = stack.enter_context(given)
        if "ansible" in options.tools:
            everywhere(places, _APT_BINDINGS)
        found: list[Measured] = []
        stack.callback(everywhere, places, job.UNDO)
        for count in options.hosts:
            for ms in options.round_trips:
                found += measure(chosen, places[:count], ms, options.rounds, options.slow_rounds)
    rounds = f"{options.rounds} rounds ({options.slow_rounds} for pyinfra and Ansible)"
    print(f"{job.COUNT} resources, medians of {rounds}; in brackets: times the raw script\n\n{table(found)}")
    busy = {_cell(one) for one in found} - {_cell(one) for one in found if not one.busy}
    if busy:
        print(f"\n{len(busy)} cells rest on runs beside other work on this machine: measure again.")
    if options.json:
        options.json.write_text(json.dumps([asdict(one) for one in found], indent=1) + "\n")


if __name__ == "__main__":
    main()
