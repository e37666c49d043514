"""How old each secret is and may be. Pure, and without a key: it reads metadata alone."""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from dataclasses import dataclass
from datetime import datetime, timedelta

from otobotctl.secrets.metadata import Metadata, moment, read_moment
from otobotctl.secrets.model import SecretSpec, previous

_SOON = 0.1  # of its time
ENDLESS = "never"


@dataclass(frozen=True)
class Standing:
    """A secret against its policy.

    `state`: ok; soon (a tenth of its time is left, at most); overdue; exposed (somebody knows it who should not any
    more); rotating (begun and not ended); waiting (both values are valid until `due`); kept (exposed, and cannot be
    exchanged: `because` says why); missing. `due` is a UTC date or moment, "never" where nothing says when, and
    `left_days` how many days that is from now: negative when it is past, None for never.
    """

    client: str
    name: str
    service: str
    state: str
    created: str
    age_days: int
    rotate_days: int | None
    due: str
    left_days: float | None
    rotation: str
    because: str

    @property
    def overdue(self) -> bool:
        """Whether somebody has to do something now."""
        return self.state in {"overdue", "exposed", "rotating", "missing"}


def standings(
    client: str, known: Iterable[Metadata], specs: Iterable[SecretSpec], now: datetime
) -> tuple[Standing, ...]:
    """Each secret that the client's services have, by name; what they do not have any more is left out."""
    found = {each.name: each for each in known}
    return tuple(sorted((_standing(client, spec, found, now) for spec in specs), key=lambda each: each.name))


def _standing(client: str, spec: SecretSpec, found: Mapping[str, Metadata], now: datetime) -> Standing:
    known = found.get(spec.name)
    state, end = ("missing", now) if known is None else _state(spec, known, found.get(previous(spec.name)), now)
    return Standing(
        client=client,
        name=spec.name,
        service=spec.service,
        state=state,
        created=known.created if known else "",
        age_days=(now - read_moment(known.created)).days if known else 0,
        rotate_days=spec.rotate_days,
        due=_due(state, end),
        left_days=None if end is None else (end - now) / timedelta(days=1),
        rotation=_how(spec),
        because=spec.because,
    )


def _state(spec: SecretSpec, known: Metadata, before: Metadata | None, now: datetime) -> tuple[str, datetime | None]:
    """How it stands, and when somebody has to act."""
    created = read_moment(known.created)
    end = created + timedelta(days=spec.rotate_days) if spec.rotate_days else None
    if before is not None:
        waits = bool(before.until) and now < read_moment(before.until)
        return ("waiting", read_moment(before.until)) if waits else ("rotating", now)
    if known.exposed:
        return ("kept", end) if _how(spec) == "refused" else ("exposed", now)
    if end is None:
        return "ok", None
    if now >= end:
        return "overdue", end
    return ("soon" if now >= end - (end - created) * _SOON else "ok"), end


def _due(state: str, end: datetime | None) -> str:
    """A date, or the moment that is waited for."""
    if end is None:
        return ENDLESS
    if state in {"exposed", "missing", "rotating"}:
        return "now"
    return moment(end) if state == "waiting" else f"{end:%Y-%m-%d}"


def _how(spec: SecretSpec) -> str:
    """How it is exchanged: `given`, a person sets another; what nobody has said is refused."""
    return "given" if spec.given else spec.rotation or "refused"
