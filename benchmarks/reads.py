"""What `benchmarks.vault` has measured, as a table and beside what it is to be."""

from __future__ import annotations

import statistics
from dataclasses import dataclass

# From the vault's own measurements of peers on 2 shared cores, requests a second at 1 and 32 connections.
NANGO = {1: 158, 32: 320}
AIMED_AT = 32  # connections
# What is measured, whether more is better, and how much it is to be.
AIMS = (
    ("rate", True, 8000.0, "reads/s"),
    ("p99_ms", False, 10.0, "ms p99"),
    ("cpu_us", False, 200.0, "µs of CPU a read"),
    ("resident_mib", False, 80.0, "MiB"),
    ("nango", True, 20.0, "times Nango"),
)


@dataclass(frozen=True)
class Measured:
    """One run: reads a second, latencies in milliseconds, CPU in microseconds a read, memory in MiB."""

    what: str
    connections: int
    rate: float
    p50_ms: float
    p99_ms: float
    server_us: float
    database_us: float
    resident_mib: float
    errors: int
    busy: bool

    @property
    def cpu_us(self) -> float:
        """Server and database together."""
        return self.server_us + self.database_us

    @property
    def nango(self) -> float:
        """Reads a second, in Nango's."""
        return self.rate / NANGO.get(self.connections, NANGO[32])


def table(runs: list[Measured]) -> None:
    """Medians, as Markdown."""
    print("| | connections | reads/s | p50 ms | p99 ms | CPU µs: it + PostgreSQL = a read | MiB | of bare | of Nango |")
    print("|---|---|---|---|---|---|---|---|---|")
    for connections in sorted({run.connections for run in runs}):
        limit = statistics.median(run.rate for run in _of(runs, "bare", connections))
        for what in ("bare", "vault"):
            some = _of(runs, what, connections)

            cpu = f"{_mid(some, 'server_us'):.0f} + {_mid(some, 'database_us'):.0f} = {_mid(some, 'cpu_us'):.0f}"
            shares = f"{_mid(some, 'rate') / limit:.2f}x | {_mid(some, 'nango'):.0f}x"
            mark = " (busy)" if any(run.busy for run in some) else ""
            memory = f"{_mid(some, 'resident_mib'):.0f}" if what == "vault" else ""
            print(
                f"| {what}{mark} | {connections} | {_mid(some, 'rate'):.0f} | {_mid(some, 'p50_ms'):.1f} "
                f"| {_mid(some, 'p99_ms'):.1f} | {cpu} | {memory} | {shares} |"
            )
    print(f"\nErrors: {sum(run.errors for run in runs)}")


def verdict(runs: list[Measured]) -> None:
    """Each aim and what was found."""
    some = _of(runs, "vault", AIMED_AT)
    for name, more, aim, unit in AIMS:
        found = _mid(some, name)
        met = found >= aim if more else found < aim
        print(f"{'met' if met else 'MISSED'}: {found:.1f} {unit} (aim: {'at least' if more else 'under'} {aim:.0f})")


def _mid(some: list[Measured], name: str) -> float:
    return float(statistics.median(getattr(run, name) for run in some))


def _of(runs: list[Measured], what: str, connections: int) -> list[Measured]:
    """The calm runs where there are any."""
    found = [run for run in runs if (run.what, run.connections) == (what, connections)]
    return [run for run in found if not run.busy] or found
