"""Secrets in words; never a value."""

from __future__ import annotations

from typing import TYPE_CHECKING

from otobotctl.cli import output

if TYPE_CHECKING:
    from collections.abc import Sequence

    from otobotctl.secrets.policy import Standing
    from otobotctl.workflows.recipients import Added, Recipient, Removed
    from otobotctl.workflows.rotation.exchange import Rotated


def standings(found: Sequence[Standing]) -> str:
    """Each secret against its policy, what is overdue first."""
    ordered = sorted(found, key=lambda each: (each.client, not each.overdue, each.state == "ok", each.name))
    rows = [
        (
            each.client,
            each.name,
            f"{each.age_days} d" if each.created else "-",
            f"{each.rotate_days} d" if each.rotate_days else "-",
            each.due,
            each.state,
            f"{each.rotation}: {each.because}" if each.rotation == "refused" else each.rotation,
        )
        for each in ordered
    ]
    return output.table(("CLIENT", "NAME", "AGE", "MAY BE", "DUE", "STATE", "ROTATION"), rows)


def remedy(late: Sequence[Standing]) -> str:
    """The command that puts the first client's overdue secrets right."""
    slug = late[0].client
    mine = [each for each in late if each.client == slug]
    if all(each.state == "rotating" for each in mine):
        return f"otobotctl secrets rotate {slug} --resume"
    if all(each.state == "missing" and each.rotation != "given" for each in mine):
        return f"otobotctl client deploy {slug}"
    if all(each.rotation in {"given", "refused"} for each in mine):
        return f"otobotctl secrets set {slug} {mine[0].name}"
    return f"otobotctl secrets rotate {slug} --due"


def question(slug: str, names: Sequence[str], ends: Sequence[str]) -> str:
    """What is asked before a rotation."""
    told = f"Rotate {', '.join(names)} of {slug}? It deploys at least twice."
    return f"{told} Of this comes: {'; '.join(ends)}." if ends else told


def rotated(done: Rotated) -> str:
    """What a rotation did."""
    lines = [f"rotated: {', '.join(done.rotated)}"] if done.rotated else []
    lines += [f"as before again: {', '.join(done.undone)}"] if done.undone else []
    lines += [
        f"{name}: the new value is in use; the one before is valid until {at}" for name, at in done.waiting.items()
    ]
    lines += [f"then: otobotctl secrets rotate {done.client} --resume"] if done.waiting else []
    lines += done.left
    if not lines:
        return f"{done.client}: nothing to rotate"
    return "\n".join([*lines, f"{done.took_s:.0f} s; commit clients/{done.client}/secrets.age"])


def recipients(found: Sequence[Recipient]) -> str:
    """Who can open what."""
    rows = [(each.name, "yes" if each.named else "no", ", ".join(each.opens) or "-", each.key) for each in found]
    return output.table(("RECIPIENT", "NAMED", "CAN OPEN", "KEY"), rows)


def added(done: Added) -> str:
    """A recipient who can open every file now."""
    what = "added" if done.new else "was there already"
    sealed = f"sealed anew: {', '.join(done.sealed)}; commit clients/" if done.sealed else "every file is sealed for it"
    return f"{what}: {done.key}\n{sealed}"


def removed(done: Removed) -> str:
    """What somebody who left could read, and what to do about it."""
    lines = [f"removed: {done.key}", f"sealed anew: {', '.join(done.sealed) or 'nothing'}"]
    for slug, names in done.known.items():
        lines.append(f"{slug}: it could read {', '.join(names)}")
        lines += [f"  cannot be rotated: {name}: {reason}" for name, reason in done.kept.get(slug, {}).items()]
        lines.append(f"  next: otobotctl secrets rotate {slug} --due")
    if done.known:
        lines.append("It can still open what it has: earlier commits of clients/, archives and recovery sheets.")
    return "\n".join(lines)
