"""`n8n export` and `n8n import`: what would change is known first, then it is written or stored."""

from __future__ import annotations

from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Any, Literal

from otobotctl import atomic
from otobotctl.errors import PartialError, UsageError
from otobotctl.workflows.n8n import files
from otobotctl.workflows.n8n.suspects import suspects

if TYPE_CHECKING:
    from collections.abc import Callable, Sequence

    from otobotctl.fleet import Fleet
    from otobotctl.workflows.n8n.door import N8nDoor

Activation = Literal["keep", "on", "off"]


@dataclass(frozen=True)
class Row:
    """What became of one workflow. `did`: written, unchanged; or created, updated, unchanged, failed."""

    id: str
    name: str
    file: str
    did: str
    active: bool | None = None


@dataclass(frozen=True)
class Carried:
    """An export or an import. `warnings` name what an operator should look at, `failed` what n8n did not take."""

    client: str
    folder: str
    workflows: tuple[Row, ...]
    warnings: tuple[str, ...] = ()
    failed: tuple[str, ...] = ()

    def error(self) -> PartialError | None:
        """What is wrong although the others are as asked; None: nothing is."""
        if not self.failed:
            return None
        message = f"{len(self.failed)} of {len(self.workflows)} workflows are not as asked"
        return PartialError(message, hint="put that right, then run it again", details=self.failed)


def folder_of(fleet: Fleet, slug: str) -> Path:
    """Where a client's workflows are kept in a fleet, unless another place is named."""
    return fleet.client(slug) / "workflows"


def export(
    door: N8nDoor, slug: str, folder: Path, chosen: Sequence[str], confirm: Callable[[str], None], *, suspicious: bool
) -> Carried:
    """Write a client's workflows (all, or the `chosen` by name or id) into `folder`, one file each.

    Raises:
        UsageError: one is unknown or looks as if it held a secret (unless `suspicious` ones may pass). None is written.
    """
    found = door.workflows()
    by_id = {each["id"]: files.document(each) for each in found}
    wanted = _chosen(by_id, chosen, slug)
    if not suspicious:
        _refuse(wanted, "nothing was written")
    named = files.names(by_id.values())
    changes = {each["id"]: folder / named[each["id"]] for each in wanted if _differs(folder / named[each["id"]], each)}
    overwritten = [path.name for path in changes.values() if path.exists()]
    if overwritten:
        confirm(f"Overwrite {', '.join(overwritten)} in {folder}?")
    folder.mkdir(parents=True, exist_ok=True)
    for each in wanted:
        if each["id"] in changes:
            atomic.write(changes[each["id"]], files.text(each), 0o644)
    active = {each["id"]: each["active"] for each in found}
    rows = tuple(
        Row(
            each["id"],
            each["name"],
            named[each["id"]],
            "written" if each["id"] in changes else "unchanged",
            active[each["id"]],
        )
        for each in wanted
    )
    return Carried(slug, str(folder), rows, _left(folder, named))


def read(folder: Path, names: Sequence[str]) -> dict[str, files.Document]:
    """Return workflows by file name: of the files `names`, or of every .json in `folder`. Raises UsageError."""
    paths = [Path(name) for name in names] or sorted(folder.glob("*.json"))
    if not paths:
        raise UsageError(f"there is no workflow in {folder}", hint="name files, or a folder with --from DIR")
    found: dict[str, files.Document] = {}
    for path in paths:
        try:
            found[path.name] = files.parse(path.read_bytes(), path.name)
        except OSError as error:
            raise UsageError(f"{path} cannot be read: {error.strerror}", hint="name a file that is there") from error
    owners: dict[str, str] = {}
    for name, each in found.items():
        other = owners.setdefault(each["id"], name)
        if other != name:
            raise UsageError(f"{other} and {name} have the id {each['id']}", hint="keep one of them")
    return found


def import_(
    door: N8nDoor,
    slug: str,
    documents: dict[str, files.Document],
    activation: Activation,
    confirm: Callable[[str], None],
    *,
    suspicious: bool,
) -> Carried:
    """Store workflows under their ids; those that are the same already are left alone. New ones are inactive at first.

    Raises:
        UsageError: one looks as if it held a secret, unless `suspicious` ones may pass. Nothing is changed.
    """
    if not suspicious:
        _refuse(documents.values(), "nothing was changed")
    here = {each["id"]: each for each in door.workflows()}
    same = {each["id"] for each in documents.values() if _same(here.get(each["id"]), each)}
    stored = [each for each in documents.values() if each["id"] not in same]
    overwritten = [each["name"] for each in stored if each["id"] in here]
    if overwritten:
        confirm(f"Overwrite {', '.join(overwritten)} in the n8n of {slug}?")
    active = _switched(documents, here, activation)
    answers = {each["id"]: each for each in door.store(stored, active)} if stored or active else {}
    rows = tuple(_row(name, each, here, same, answers, active) for name, each in documents.items())
    warnings = tuple(
        f"{row.name}: this n8n has no credential {name}; choose one in its nodes"
        for row in rows
        for name in answers.get(row.id, {}).get("missing", ())
    )
    failed = tuple(f"{row.name}: {answers[row.id]['why']}" for row in rows if row.did == "failed")
    return Carried(slug, "", rows, warnings, failed)


def _chosen(by_id: dict[str, files.Document], chosen: Sequence[str], slug: str) -> list[files.Document]:
    if not chosen:
        return list(by_id.values())
    wanted = {name: [each for each in by_id.values() if name in (each["id"], each["name"])] for name in chosen}
    unknown = [name for name, found in wanted.items() if not found]
    if unknown:
        known = ", ".join(sorted(each["name"] for each in by_id.values())) or "none"
        raise UsageError(f"the n8n of {slug} has no workflow {unknown[0]}", hint=f"it has: {known}")
    return list({each["id"]: each for found in wanted.values() for each in found}.values())


def _refuse(documents: Any, so: str) -> None:
    told = [f"{each['name']}: {suspect.told()}" for each in documents for suspect in suspects(each)]
    if told:
        raise UsageError(
            f"what looks like a secret stands in a workflow; {so}",
            hint="put the value into a credential of n8n; or, if it is none, add --allow-suspects",
            details=told,
        )


def _differs(path: Path, wanted: files.Document) -> bool:
    return not path.is_file() or path.read_bytes() != files.text(wanted)


def _left(folder: Path, named: dict[str, str]) -> tuple[str, ...]:
    gone = sorted(path.name for path in folder.glob("*.json") if path.name not in named.values())
    return tuple(f"{name} is of no workflow of this n8n by its present name" for name in gone)


def _same(here: dict[str, Any] | None, wanted: files.Document) -> bool:
    return here is not None and files.text(files.document(here)) == files.text(wanted)


def _switched(
    documents: dict[str, files.Document], here: dict[str, dict[str, Any]], activation: Activation
) -> dict[str, bool]:
    """Those whose state is not as asked; those that are kept are not in it, since storing keeps it."""
    if activation == "keep":
        return {}
    ids = [each["id"] for each in documents.values()]
    return {each: activation == "on" for each in ids if here.get(each, {}).get("active", False) != (activation == "on")}


def _row(
    name: str,
    each: files.Document,
    here: dict[str, Any],
    same: set[str],
    answers: dict[str, Any],
    active: dict[str, bool],
) -> Row:
    identity = each["id"]
    did = "unchanged" if identity in same else "updated" if identity in here else "created"
    if answers.get(identity, {}).get("why"):
        did = "failed"
    before = here.get(identity, {}).get("active", False)
    now = before if did == "failed" else active.get(identity, before)
    return Row(identity, each["name"], name, did, now)
