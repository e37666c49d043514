"""Backups in words."""

from __future__ import annotations

import time
from typing import TYPE_CHECKING

from otobotctl.agent.backup.shapes import LOG_S
from otobotctl.cli import output
from otobotctl.cli.human import amounts

if TYPE_CHECKING:
    from otobotctl.workflows.backup.listing import Listing
    from otobotctl.workflows.backup.runs import BackupRun
    from otobotctl.workflows.backup.status import BackupStatus, ClientStanding, TargetStanding


def made(done: BackupRun) -> str:
    """A line for each target."""
    lines = []
    for each in done.made:
        if each.archive is None:
            lines.append(f"{each.client} on {each.target}: no archive")
            continue
        moment = "consistent" if each.archive["consistent"] else "not consistent: services wrote meanwhile"
        size, added = amounts.size(each.archive["bytes"]), amounts.size(each.archive["added"])
        about = f"{size}, {added} new, {moment}, {each.archive['took_s']:.1f} s"
        lines.append(f"{each.client} on {each.target}: archive {each.archive['id']}: {about}")
    return "\n".join(lines)


def listed(found: Listing) -> str:
    """A row for each archive."""
    rows = [
        (
            each.target,
            each.id,
            each.at,
            each.reason or "-",
            "-" if each.bytes is None else amounts.size(each.bytes),
            str(each.parts),
            "yes" if each.consistent else "no",
        )
        for each in found.archives
    ]
    table = output.table(("TARGET", "ARCHIVE", "MADE", "REASON", "SIZE", "PARTS", "CONSISTENT"), rows)
    lines = [f"{each.target}: any moment from {each.since} to {each.until}" for each in found.moments]
    return "\n".join([table, *lines])


def standing(found: BackupStatus) -> str:
    """A row for each client and target."""
    rows = [_row(client, each) for client in found.clients for each in client.targets]
    head = ("CLIENT", "TARGET", "NEWEST", "PROMISED", "SIZE", "GREW", "LAST CHECK", "LAST DRILL", "NEXT RUN")
    without = [client.client for client in found.clients if not client.targets]
    lines = [f"{name}: has no target, so no archive is made by itself" for name in without]
    lines += [_log(each) for client in found.clients for each in client.targets if each.log is not None]
    lines += [_measured(each) for each in found.clients if each.targets and (each.drill or {}).get("rpo_s") is not None]
    return "\n".join([output.table(head, rows), *lines])


def _log(each: TargetStanding) -> str:
    """How far behind the log is."""
    log = each.log or {}
    behind = "not there yet" if log["lag_s"] is None else f"{log['lag_s']:.0f} s behind, promised are {LOG_S:.0f} s"
    late = "" if log["base"] else ", and has no base yet"
    return f"{each.client} on {each.target}: PostgreSQL's log is {behind}{late}"


def _measured(client: ClientStanding) -> str:
    """What the last drill measured against what is promised."""
    drill, promised_s = client.drill or {}, max(each.rpo_s for each in client.targets)
    took, promised = f"{drill['took_s'] / 60:.1f} min", f"(promised {client.rto_s / 60:.0f})"
    text = (
        f"{client.client}: as drilled, a restore takes {took} {promised}, "
        f"and at the worst moment of a week {drill['rpo_s'] / 3600:.1f} h of work were in no archive"
    )
    text += f" (promised {promised_s / 3600:g})" if promised_s else ""
    if log := drill.get("log"):
        behind = f"{log['rpo_s']:.0f} s (promised {LOG_S:.0f})"
        text += f"; with PostgreSQL's log {behind}, replayed in {log['took_s'] / 60:.1f} min"
    return text


def _row(client: ClientStanding, each: TargetStanding) -> tuple[str, ...]:
    archive = each.archive
    age = "never" if each.age_s is None else amounts.duration(each.age_s)
    grew = None if archive is None else archive.get("grew")
    return (
        client.client,
        each.target,
        f"{age}, late" if each.overdue else age,
        amounts.duration(each.rpo_s) if each.rpo_s else "-",
        "-" if archive is None else amounts.size(archive["bytes"]),
        "-" if grew is None else f"{'-' if grew < 0 else '+'}{amounts.size(abs(grew))}",
        _check(each),
        _drill(client),
        "-" if client.next_at is None else amounts.moment(client.next_at),
    )


def _check(each: TargetStanding) -> str:
    if not each.verified:
        return "never"
    ago = amounts.duration(time.time() - each.verified["at"])
    return f"failed {ago} ago" if each.verified.get("error") else f"{ago} ago"


def _drill(client: ClientStanding) -> str:
    """When, and what it measured: the time that a restore really takes."""
    if not client.drill:
        return "never"
    ago = amounts.duration(time.time() - client.drill["at"])
    on = f" on {client.drill['on']}" if client.drill.get("on") else ""
    if not client.drill["ok"]:
        return f"failed {ago} ago{on}"
    took_s = client.drill.get("took_s")
    return f"{ago} ago" + ("" if took_s is None else f", {took_s / 60:.1f} of {client.rto_s / 60:.0f} min") + on
