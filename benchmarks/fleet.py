"""One host and twenty at once, all of them as they should be: `.venv/bin/python -m benchmarks.fleet`, as root.

Every time is of a whole `otobotctl host apply --all` that changes nothing. Hosts and the command share this machine's
processors, which twenty real servers would not: the CPU time of either side is told apart.
"""

from __future__ import annotations

import argparse
import json
import os
import signal
import statistics
import sys
import tempfile
from collections import defaultdict
from contextlib import ExitStack
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import TYPE_CHECKING

from benchmarks import calm, crowd, spent
from tests.lab import light

if TYPE_CHECKING:
    from collections.abc import Sequence

_TAG = "few"
_KEPT_S = 60  # OTOBOTCTL_SSH_PERSIST's default


@dataclass(frozen=True)
class Measured:
    """One run; `took_s` and both `cpu` in seconds. What ssh's kept connections spend is the operator's too."""

    hosts: int
    case: str  # "new logins" or "connections kept"
    took_s: float
    command_cpu_s: float  # otobotctl itself
    ssh_cpu_s: float  # the ssh processes that it started
    hosts_cpu_s: float  # everything that ran on the hosts meanwhile
    peak_rss_mb: float
    busy: bool  # the machine had other work when it began


def measure(fleet: crowd.Crowd, counts: Sequence[int], rounds: int, calm_s: float) -> list[Measured]:
    """All sizes in turn within a round, so that a busy moment hits each alike."""
    found: list[Measured] = []
    for _ in range(rounds):
        for count in counts:
            fleet.forget()
            for case, kept_s in (("new logins", 0), ("connections kept", _KEPT_S)):
                if kept_s:
                    fleet.apply(count, kept_s)  # opens what the measured one finds open
                found.append(_once(fleet, count, case, kept_s, calm_s))
                one = found[-1]
                print(
                    f"  {one.hosts:>2} hosts, {one.case:16} {one.took_s:6.2f} s  command {one.command_cpu_s:.2f}  "
                    f"ssh {one.ssh_cpu_s:.2f}  hosts {one.hosts_cpu_s:.2f}  {one.peak_rss_mb:.0f} MB"
                    f"{'  BUSY' if one.busy else ''}",
                    file=sys.stderr,
                )
    return found


def _once(fleet: crowd.Crowd, count: int, case: str, kept_s: int, calm_s: float) -> Measured:
    busy = not calm.wait(calm_s)
    before = spent.by_namespace(fleet.namespaces())
    done = fleet.apply(count, kept_s)
    hosts_s = spent.by_namespace(fleet.namespaces()) - before
    return Measured(count, case, done.took_s, done.own_cpu_s, done.children_cpu_s, hosts_s, done.peak_rss_mb, busy)


def table(found: Sequence[Measured], counts: Sequence[int]) -> str:
    """Markdown: medians, and the largest size as a multiple of the smallest."""
    groups: dict[tuple[str, int], list[Measured]] = defaultdict(list)
    for one in found:
        groups[one.case, one.hosts].append(one)
    lines = ["| hosts | seconds | CPU: otobotctl | CPU: its ssh | CPU: the hosts | peak memory |", "|---" * 6 + "|"]
    for case in dict.fromkeys(one.case for one in found):
        rows = {count: [_median(groups[case, count], name) for name in _COLUMNS] for count in counts}
        for count, row in rows.items():
            took, own, ssh, hosts, memory = row
            lines.append(f"| {count}, {case} | {took:.2f} | {own:.2f} | {ssh:.2f} | {hosts:.2f} | {memory:.0f} MB |")
        few, many = rows[min(counts)], rows[max(counts)]
        ratios = [f"{big / small:.1f}x" if small else "" for small, big in zip(few, many, strict=True)]
        lines.append(f"| {max(counts)} : {min(counts)} | " + " | ".join(ratios) + " |")
    return "\n".join(lines)


def verdict(found: Sequence[Measured], counts: Sequence[int], most: float, memory_mb: float) -> str:
    """A line a case: how many times one host the most hosts take, and whether time and memory are within the aim."""
    lines = []
    for case in dict.fromkeys(one.case for one in found):
        few, many = ([one for one in found if (one.case, one.hosts) == (case, n)] for n in (min(counts), max(counts)))
        if not few or not many:
            continue
        ratio = _median(many, "took_s") / _median(few, "took_s")
        alone = _median(many, "command_cpu_s") + _median(many, "ssh_cpu_s")
        alone /= _median(few, "command_cpu_s") + _median(few, "ssh_cpu_s")
        peak = max(one.peak_rss_mb for one in many)
        said = "met" if ratio <= most and peak < memory_mb else "missed"
        look_ms = _median(many, "hosts_cpu_s") / max(counts) * 1000
        lines.append(
            f"{case}: {max(counts)} hosts take {ratio:.1f} times one (aim {most:g}), {peak:.0f} MB "
            f"(aim {memory_mb:g}): {said}; CPU of the operator alone {alone:.1f} times, of a host {look_ms:.0f} ms"
        )
    return "\n".join(lines)


_COLUMNS = ("took_s", "command_cpu_s", "ssh_cpu_s", "hosts_cpu_s", "peak_rss_mb")


def _median(ones: Sequence[Measured], name: str) -> float:
    calm_ones = [one for one in ones if not one.busy]
    return statistics.median(getattr(one, name) for one in calm_ones or ones)


def main() -> None:
    """Parse, measure, print."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--hosts", type=int, nargs="+", default=[1, 20], help="how many at a time (default 1 20)")
    parser.add_argument("--rounds", type=int, default=5)
    parser.add_argument(
        "--lab", action="store_true", help="real hosts with systemd and Docker, and the whole playbook: 5 GB of memory"
    )
    parser.add_argument("--calm", type=float, default=20, metavar="S", help="wait so long for an idle machine (20)")
    parser.add_argument(
        "--ssh-13", action="store_true", help="log in with Debian 13's OpenSSH 10 from the hosts' own tree"
    )
    parser.add_argument("--json", type=Path, help="write every single run here")
    options = parser.parse_args()
    signal.signal(signal.SIGTERM, lambda *_: sys.exit(143))  # so that the hosts are taken down
    with ExitStack() as stack:
        work = Path(stack.enter_context(tempfile.TemporaryDirectory(prefix="ob-")))
        os.environ["XDG_RUNTIME_DIR"] = str(work)  # otobotctl's sockets stay apart from the operator's
        most = max(options.hosts)
        hosts = stack.enter_context(crowd.lab_hosts(most, work) if options.lab else crowd.light_hosts(most))
        fleet = crowd.Crowd(work, hosts, "vps" if options.lab else crowd.LIGHT)
        stack.callback(fleet.forget)
        if options.ssh_13:
            fleet.log_in_with(light.tree())
        for count in options.hosts:
            fleet.tag(count)
        fleet.provision()
        found = measure(fleet, options.hosts, options.rounds, options.calm)
    kind = "lab hosts, the whole playbook" if options.lab else "light hosts, the playbook's steps without systemd"
    print(f"{kind}; medians of {options.rounds} rounds\n\n{table(found, options.hosts)}\n")
    print(verdict(found, options.hosts, most=3, memory_mb=200))
    if all(one.busy for one in found):
        print("\nOther work was going on at every run: measure again.")
    if options.json:
        options.json.write_text(json.dumps([asdict(one) for one in found], indent=1) + "\n")


if __name__ == "__main__":
    main()
