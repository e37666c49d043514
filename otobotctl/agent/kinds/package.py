"""Packages of the distribution. Each name may be alternatives: "docker-compose-v2|docker-compose"."""

from __future__ import annotations

from typing import Any, Dict, Iterable, List, Sequence

from otobotctl.agent import apt
from otobotctl.agent.run import Run, StepError


def probe(params: Dict[str, Any]) -> Dict[str, Any]:
    """Facts: `installed`, every alternative that is there -> its version."""
    return {"installed": apt.installed(_alternatives(params["names"]))}


def probe_all(many: Sequence[Dict[str, Any]]) -> List[Dict[str, Any]]:
    """The facts of each, by one dpkg-query."""
    names = [_alternatives(params["names"]) for params in many]
    found = apt.installed(sorted({name for each in names for name in each}))
    return [{"installed": {name: found[name] for name in each if name in found}} for each in names]


def apply(params: Dict[str, Any], run: Run) -> None:
    """Install what is missing or remove what is there; apt's lock is waited for, an interrupted dpkg repaired."""
    found = probe(params)["installed"]
    if params.get("state") == "absent":
        unwanted = sorted(found)
        if unwanted:
            apt.repair(run)
            apt.command(run, ["remove", *unwanted])
        return
    missing = [entry for entry in params["names"] if not _any_of(entry, found)]
    if missing and apt.repair(run):
        found = probe(params)["installed"]
        missing = [entry for entry in missing if not _any_of(entry, found)]
    if not missing:
        return
    chosen = _choose(missing, params.get("refresh_s", apt.REFRESH_S), run)
    apt.command(run, ["install", "--no-install-recommends", "--no-remove", *chosen])
    still = [name for name in chosen if name not in apt.installed(chosen)]
    if still:
        raise StepError("{} is not a package of its own; name the one that provides it".format(", ".join(still)))


def _alternatives(names: Iterable[str]) -> List[str]:
    return [name for entry in names for name in entry.split("|")]


def _any_of(entry: str, names: Iterable[str]) -> bool:
    return any(name in names for name in entry.split("|"))


def _choose(entries: List[str], refresh_s: float, run: Run) -> List[str]:
    """The first alternative of each entry that apt can install; the index is read anew when it is old or lacks one."""
    fresh = not apt.index_is_stale(refresh_s)
    if not fresh:
        apt.refresh(run)
    known = apt.candidates(_alternatives(entries))
    if fresh and not all(_any_of(entry, known) for entry in entries):
        apt.refresh(run)
        known = apt.candidates(_alternatives(entries))
    unknown = [entry for entry in entries if not _any_of(entry, known)]
    if unknown:
        text = "apt knows no package {}; check the name, or add an apt_repository step before this one"
        raise StepError(text.format(", ".join(unknown)))
    return [next(name for name in entry.split("|") if name in known) for entry in entries]
