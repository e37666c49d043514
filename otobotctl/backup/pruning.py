"""What a prune from the operator's machine would take away, and what speaks against it. Pure.

A host that somebody else has taken over can add to a repository that it cannot delete from. It could add archives whose
times drive the real ones out, so a prune of such a repository keeps by periods of the operator's own clock, and refuses
where the times do not look like those of a host that does its work.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence

from otobotctl.agent.backup import keeping
from otobotctl.agent.backup.keeping import Group, Verdict

_AHEAD_S = 3600.0  # clocks differ; more than that is no clock's doing
_SPREAD_S = 2 * 86400.0  # no archive takes longer to make
_DAY_S = 86400.0


def plan(found: Sequence[Group], keep: Mapping[str, int], now: float, *, append_only: bool) -> Verdict:
    """Decide. Of an append-only repository within periods before `now`, else by count, as its host does."""
    return keeping.within(found, keep, now) if append_only else keeping.counted(found, keep, now)


def against(found: Sequence[Group], keep: Mapping[str, int], now: float, *, append_only: bool) -> tuple[str, ...]:
    """Why nothing should be pruned now, a sentence each; empty where nothing speaks against it."""
    archives = [group for group in found if group.heads]
    said = []
    ahead = sorted({group.id for group in found if max(group.newest, group.made) > now + _AHEAD_S})
    if ahead:
        said.append(f"{_some(ahead)} lies in the future, which a host at work never writes")
    forged = [group.id for group in found if group.newest - group.made > _SPREAD_S]
    if forged:
        said.append(f"{_some(forged)} was written at another time than its name says")
    oldest = now - max(int(keep.get("daily") or 0), 2) * _DAY_S
    if append_only and archives and archives[-1].made < oldest:
        days = (now - archives[-1].made) / _DAY_S
        said.append(f"the newest archive is {days:.0f} days old, so that by its age every daily one would go")
    return tuple(said)


def _some(names: Sequence[str]) -> str:
    shown = ", ".join(names[:3])
    return shown if len(names) <= 3 else f"{shown} and {len(names) - 3} more"  # noqa: PLR2004
