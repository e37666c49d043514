"""Deploys, releases and what goes with them, in words."""

from __future__ import annotations

from typing import TYPE_CHECKING

from otobotctl.cli import output
from otobotctl.cli.human import hosts

if TYPE_CHECKING:
    from otobotctl.workflows.deploying.deploy import Deployed, DeployPlan
    from otobotctl.workflows.deploying.logs import Line
    from otobotctl.workflows.deploying.releases import ReleaseRow, Releases
    from otobotctl.workflows.deploying.rollback import RolledBack, Way
    from otobotctl.workflows.deploying.several import Deploys, Plans


def plans(found: Plans) -> str:
    """Each client's plan, one after the other."""
    return "\n".join(_plan(each) for each in found.clients)


def _plan(found: DeployPlan) -> str:
    from otobotctl.workflows.converging import HostPlan

    told = hosts.plan(HostPlan(found.host, found.looked_at, found.steps, ()), explain=False)
    if not found.steps:
        return f"{found.client}: nothing to do"
    first = "an archive first, then " if found.archive else ""
    back = f"a release that is not healthy goes back, after {found.back_s} s at the latest"
    return f"{told}\n{found.client}: {first}{len(found.steps)} steps; {back}"


def deployed(done: Deploys) -> str:
    """What a deploy did: steps for one client, a line for each of several."""
    if len(done.clients) == 1:
        return one(done.clients[0])
    cells = [
        (
            each.client,
            each.host,
            each.state,
            str(each.release or "-"),
            str(len(each.changed)),
            f"{each.took_s:.1f} s",
            each.reason,
        )
        for each in done.clients
    ]
    return output.table(("CLIENT", "HOST", "STATE", "RELEASE", "CHANGES", "TIME", ""), cells)


def one(done: Deployed) -> str:
    """What a deploy did with one client: its steps, the archive, the trial, the release."""
    lines = [hosts.counted(done.host, done.executions, done.changed, done.took_s)]
    if done.archive:
        lines.append(f"archive: {done.archive}")
    lines += [
        f"hook {each.program} failed, and the deploy went on: {each.failure}" for each in done.hooks if each.failure
    ]
    if done.smoke:
        lines.append(f"the vault was tried: {', '.join(done.smoke)}")
    number = f"release {done.release}"
    lines.append(
        f"{done.client}: {number} as before" if done.state == "unchanged" else f"{done.client}: {number} is healthy"
    )
    return "\n".join(lines)


def way(found: Way) -> str:
    """What a rollback would do, and what it would not."""
    moved = [f"  {each.what}: {each.before} -> {each.after}" for each in found.changes]
    refused = [f"    refused: {each.refused}" for each in found.changes if each.refused]
    return "\n".join(
        [f"{found.client} on {found.host}:", *moved, *refused, *(f"  stays: {line}" for line in found.stays)]
    )


def rolled_back(done: RolledBack) -> str:
    """What a rollback did."""
    if not done.changes:
        return f"{done.client}: release {done.release} is current and healthy already"
    lines = [f"{done.client}: release {done.release} is back and healthy ({done.took_s:.1f} s)"]
    return "\n".join([*lines, *(f"stays: {line}" for line in done.stays)])


def releases(found: Releases) -> str:
    """A line for each release, the newest last."""
    cells = [
        (
            str(each.number),
            "current" if each.current else "",
            each.at,
            each.who or "-",
            _health(found, each),
            ", ".join(each.changed) or "-",
        )
        for each in found.releases
    ]
    return output.table(("RELEASE", "", "MADE", "BY", "HEALTHY", "CHANGED"), cells)


def _health(found: Releases, row: ReleaseRow) -> str:
    if row.current and found.trouble:
        return "now not: " + ", ".join(f"{name} is {state}" for name, state in sorted(found.trouble.items()))
    if row.current:
        return "yes" if found.settled else "not known: a deploy was cut off"
    return "never" if row.healthy_at is None else "was"


def log_line(line: Line) -> str:
    """Container, time, words."""
    return f"{line.container} {line.at} {line.text}" if line.at else line.text
