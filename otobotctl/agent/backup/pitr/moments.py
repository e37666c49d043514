"""Which moments the repositories can give back, and what of them one moment needs."""

from __future__ import annotations

import time
from typing import Any, Callable, Dict, List, Mapping, NamedTuple, Optional, Sequence

from otobotctl.agent.backup.complaints import ResticError
from otobotctl.agent.backup.hands import RestoreError
from otobotctl.agent.backup.pitr import here, segments
from otobotctl.agent.backup.pitr.here import LOG
from otobotctl.agent.backup.pitr.segments import Chain
from otobotctl.agent.backup.restic import Restic

LATEST = "latest"


class Found(NamedTuple):
    """A base with the log that follows it, in one repository."""

    restic: Restic
    chain: Chain


def found(repositories: Sequence[Restic], note: Mapping[str, Any], say: Callable[[str], None]) -> List[Found]:
    """Every chain of every repository that answers, the newest base first. `note` is what this host knows."""
    chains: List[Found] = []
    for restic in repositories:
        try:
            listed = restic.snapshots("--tag", segments.TAG)
            chains += [Found(restic, each) for each in chains_of(listed, here.of_target(note, LOG, restic.name))]
        except ResticError as error:
            say("{} does not answer: {}".format(restic.name, error))
    return sorted(chains, key=lambda each: each.chain.since, reverse=True)


def chains_of(listed: Sequence[Mapping[str, Any]], known: Mapping[str, Any]) -> List[Chain]:
    """The chains among a repository's snapshots that lead anywhere; `known` is what this host notes of it. Pure."""
    log = segments.wals(listed)
    every = (
        segments.chain(base, log, known["covers"] if base.series == known["series"] else 0.0)
        for base in segments.bases(listed)
    )
    return [each for each in every if each.until > each.since]


def ranges(chains: Sequence[Chain]) -> "List[tuple[float, float]]":
    """The periods of which every moment can be restored, in order, as Unix seconds."""
    joined: "List[tuple[float, float]]" = []
    for since, until in sorted((each.since, each.until) for each in chains):
        if joined and since <= joined[-1][1]:
            joined[-1] = (joined[-1][0], max(joined[-1][1], until))
        else:
            joined.append((since, until))
    return joined


def choose(candidates: Sequence[Found], moment: Optional[float], *, latest: bool, client: str) -> "tuple[Found, float]":
    """The chain for a moment, with no more of the log than that needs, and how far it reaches.

    With `latest` that is as far as any of them comes whose base is from before `moment`. Raises RestoreError: no log
    covers it; the text names what is covered.
    """
    if latest:
        before = [each for each in candidates if moment is None or each.chain.since <= moment]
        if before:
            best = max(before, key=lambda each: (each.chain.until, each.chain.since))
            return best, best.chain.until
    elif moment is not None:
        for each in candidates:
            if each.chain.since <= moment <= each.chain.until:
                return Found(each.restic, segments.until(each.chain, moment)), moment
    raise RestoreError(
        "{} is outside of what can be restored to the moment: {}; for an older one name an archive of "
        "`otobotctl backup list {}`".format(_time(moment), _words([each.chain for each in candidates]), client)
    )


def _words(chains: Sequence[Chain]) -> str:
    """The periods, and where the log has a gap."""
    said = ["{} to {}".format(_time(since), _time(until)) for since, until in ranges(chains)]
    missing = sorted({each.gap for each in chains if each.gap})
    text = ", ".join(said) or "there is nothing yet"
    return text + " (segment {} of the log is missing)".format(missing[0]) if missing else text


def _time(moment: Optional[float]) -> str:
    return "now" if moment is None else time.strftime("%Y-%m-%d %H:%M:%S UTC", time.gmtime(moment))


def told(chains: Sequence[Chain]) -> List[Dict[str, Any]]:
    """The periods as a list shows them."""
    return [{"since": round(since, 3), "until": round(until, 3)} for since, until in ranges(chains)]
