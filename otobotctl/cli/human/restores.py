"""Restores in words."""

from __future__ import annotations

from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from otobotctl.workflows.backup.restore import Restored


def restored(done: Restored) -> str:
    """What came back, how old it is, how long it took, and what proves it."""
    rows = sum(sum(tables.values()) for tables in done.rows.values())
    lines = [
        f"{done.client} on {done.host}: {', '.join(done.what) or 'finished'} from archive {done.archive}"
        + (f" of {done.target}, made {done.made}" if done.made else "")
    ]
    if done.made:
        lines.append(
            f"restored in {done.took_s:.0f} s (RTO); the archive was {_age(done.lost_s)} old (RPO); {rows} rows counted"
        )
    lines += [f"{proof['service']}: {proof['said']}" for proof in done.proofs]
    if done.erased:
        lines.append(f"{done.erased} people who were erased since are erased again")
    if done.safety:
        lines.append(f"what was there before: archive {done.safety}")
    return "\n".join(lines)


def _age(seconds: float) -> str:
    minutes = int(seconds // 60)
    return f"{minutes} min" if minutes < 120 else f"{minutes / 60:.1f} h"  # noqa: PLR2004
