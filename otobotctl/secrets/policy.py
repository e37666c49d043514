"""How old each secret is and may be. Pure, and without a key: it reads metadata alone."""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from dataclasses import dataclass
from datetime import UTC, datetime, timedelta

from otobotctl.secrets.metadata import Metadata
from otobotctl.secrets.model import SecretSpec, previous

_SOON = 0.1  # of its time
ENDLESS = "never"


@dataclass(frozen=True)
class Standing:
    """A secret against its policy.

    `state`: ok; soon (a tenth of its time is left, at most); overdue; exposed (somebody knows it who should not any
    more); rotating (begun and not ended); waiting (both values are valid until `due`); kept (exposed, and cannot be
    exchanged: `because` says why); missing. `due` is a UTC date or moment, "never" where nothing says when.
    """

    client: str
    name: str
    service: str
    state: str
    created: str
    age_days: int
    rotate_days: int | None
    due: str
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
    if known is None:
        return Standing(client, spec.name, spec.service, "missing", "", 0, spec.rotate_days, "now", _how(spec), "")
    created = datetime.fromisoformat(known.created).astimezone(UTC)
    state, due = _state(spec, known, found.get(previous(spec.name)), created, now)
    age = (now - created).days
    how = _how(spec)
    return Standing(
        client, spec.name, spec.service, state, known.created, age, spec.rotate_days, due, how, spec.because
    )


def _state(
    spec: SecretSpec, known: Metadata, before: Metadata | None, created: datetime, now: datetime
) -> tuple[str, str]:
    end = created + timedelta(days=spec.rotate_days) if spec.rotate_days else None
    due = f"{end:%Y-%m-%d}" if end else ENDLESS
    if before is not None:
        waits = bool(before.until) and now < datetime.fromisoformat(before.until)
        return ("waiting", before.until) if waits else ("rotating", "now")
    if known.exposed:
        return ("kept", due) if _how(spec) == "refused" else ("exposed", "now")
    if end is None:
        return "ok", due
    if now >= end:
        return "overdue", due
    return ("soon" if now >= end - (end - created) * _SOON else "ok"), due


def _how(spec: SecretSpec) -> str:
    """How it is exchanged: `given`, a person sets another; what nobody has said is refused."""
    return "given" if spec.given else spec.rotation or "refused"
