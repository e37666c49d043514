"""Archives are made, checked and proved by drills as was promised, and not all of them hang on one thing."""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from typing import Any, Final

from otobotctl.doctor.model import Case, Check, Finding
from otobotctl.manifest import ResolvedClient
from otobotctl.manifest.backups import GRACE, VERIFY_DAYS, drill_took_s, log_overdue

_DAY_S = 86400.0
_PLACES: Final = 2


def judge(case: Case) -> Iterator[Finding]:
    """What is late, failed or damaged on each target; and, as information, what a disaster could still take."""
    told = (case.facts or {}).get("backups") or {}
    for client in case.clients:
        if client.backup.schedule == "never" and not client.backup.targets:
            continue
        if not client.backup.targets:
            seen = "it has no backup targets: archives are made when somebody makes one"
            yield Finding("info", client.slug, seen, f"otobotctl backup schedule {client.slug}")
            continue
        found = told.get(client.slug)
        if found is None or found["targets"] is None:
            seen = "its host does not know of its backup targets yet"
            yield Finding("warning", client.slug, seen, f"otobotctl client deploy {client.slug}")
            continue
        for target in found["targets"]:
            yield from _target(case, client.slug, target["name"], found)
            yield from _log(client.slug, target["name"], found)
        yield from _drill(case, client.slug, found)
        yield from _places(client)


def _target(case: Case, slug: str, name: str, found: Mapping[str, Any]) -> Iterator[Finding]:
    known = found["state"]["targets"].get(name) or {}
    archive, verified = known.get("archive"), known.get("verified")
    first = known.get("first") or case.now
    run = f"otobotctl backup run {slug} --target {name}"
    if archive is None:
        if case.now - first > found["rpo_s"] * GRACE or (known.get("attempt") or {}).get("error"):
            yield Finding("critical", slug, f"there is no archive on {name} yet", run)
    elif (age_s := case.now - archive["made"]) > found["rpo_s"] * GRACE:
        seen = f"the newest archive on {name} is {age_s / 3600:.1f} h old, promised are {found['rpo_s'] / 3600:g}"
        yield Finding("warning", slug, seen, run)
    check = f"otobotctl backup verify {slug} --target {name}"
    if verified and verified.get("error"):
        damaged = verified.get("damaged") or verified.get("unknown")
        seen = f"archives on {name} are damaged" if damaged else f"{name} could not be checked"
        yield Finding("critical" if damaged else "warning", slug, f"{seen}: {verified['error']}", check)
    elif case.now - (verified["at"] if verified else first) > VERIFY_DAYS * _DAY_S:
        yield Finding("warning", slug, f"nothing of the data on {name} was checked for {VERIFY_DAYS} days", check)


def _log(slug: str, name: str, found: Mapping[str, Any]) -> Iterator[Finding]:
    """With point-in-time recovery: what was committed a minute ago is there."""
    for line in log_overdue((found.get("pitr") or {}).get(name)):
        yield Finding("warning", slug, f"{name}: {line}", f"otobotctl backup status {slug}")


def _drill(case: Case, slug: str, found: Mapping[str, Any]) -> Iterator[Finding]:
    drill, remedy = found["state"]["drill"], f"otobotctl backup drill {slug}"
    first = min((each.get("first") or case.now for each in found["state"]["targets"].values()), default=case.now)
    if drill and not drill["ok"]:
        yield Finding("critical", slug, "the last drill did not prove its archive", f"{remedy} --report")
    elif case.now - (drill["at"] if drill else first) > (found["drill_days"] + 1) * _DAY_S:
        yield Finding("warning", slug, f"no archive was proved by a drill for {found['drill_days']} days", remedy)
    elif drill and (took_s := drill_took_s(drill)) > found["rto_s"]:
        seen = f"a restore takes {took_s / 60:.0f} min, promised are {found['rto_s'] / 60:.0f}"
        yield Finding("warning", slug, seen, f"{remedy} --report")


def _places(client: ResolvedClient) -> Iterator[Finding]:
    targets, remedy = client.backup.targets, f"otobotctl backup schedule {client.slug}"
    if len(targets) < _PLACES:
        yield Finding("info", client.slug, "its archives are in one place alone", remedy)
    if not any(target.append_only for target in targets.values()):
        seen = "whoever takes its host over can delete every archive: no target is append-only"
        yield Finding("info", client.slug, seen, remedy)


CHECK = Check("backups", "Archives are made, checked and proved as promised.", judge)
