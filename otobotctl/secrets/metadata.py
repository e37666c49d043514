"""What may be known of a secret without a key: `secrets.yaml`, written for reviews and keyless checks."""

from __future__ import annotations

import json
import re
from collections.abc import Mapping
from datetime import UTC, datetime
from typing import Any

import msgspec

from otobotctl import shapes
from otobotctl.errors import ManifestError

_HEAD = "# What secrets.age holds, without the values. otobotctl writes it again from there when they disagree.\n"
_RARE = frozenset({"exposed", "turn", "until"})
_PLAIN = re.compile(r"[A-Z][A-Z0-9_]*")


class Metadata(msgspec.Struct, frozen=True, forbid_unknown_fields=True, kw_only=True):
    """One secret without its value.

    `created` is UTC, ISO 8601; `rotate_days` its policy, None for never; `fingerprint` 12 hex digits that change with
    the value and tell nothing about it. `exposed`: since when somebody knows the value who should not any more.

    Of a rotation: `turn` is which of two database logins has it, `until` (of a value before) how long it is accepted
    still; "" where its successor is not known to be in use.
    """

    name: str
    kind: str
    service: str
    created: str
    rotate_days: int | None = None
    given: bool = False
    description: str = ""
    fingerprint: str = ""
    exposed: str = ""
    turn: int = 0
    until: str = ""

    def said(self) -> dict[str, Any]:
        """Every field but the name; those that few secrets have only where they say something."""
        fields = msgspec.structs.asdict(self)
        return {key: value for key, value in fields.items() if key != "name" and (value or key not in _RARE)}


class Summary(msgspec.Struct, frozen=True):
    """The whole of `secrets.yaml`. `sealed` is the SHA-256 of `secrets.age`; `recipients` who can open it."""

    sealed: str
    recipients: tuple[str, ...]
    secrets: tuple[Metadata, ...]


def write(summary: Summary) -> bytes:
    """Return the summary as YAML, secrets in the order of their names."""
    lines = [_HEAD + "version: 1", f"sealed: {_scalar(summary.sealed)}", "recipients:"]
    lines += [f"  - {_scalar(recipient)}" for recipient in summary.recipients]
    lines.append("secrets:" if summary.secrets else "secrets: {}")
    for secret in sorted(summary.secrets, key=lambda secret: secret.name):
        lines.append(f"  {secret.name if _PLAIN.fullmatch(secret.name) else _scalar(secret.name)}:")
        lines += [f"    {field}: {_scalar(value)}" for field, value in secret.said().items()]
    return ("\n".join(lines) + "\n").encode()


def read(raw: bytes, name: str) -> Summary:
    """Return the summary in `raw`; `name` is the file's, for messages. Raises ManifestError."""
    import yaml

    loader = getattr(yaml, "CSafeLoader", yaml.SafeLoader)
    try:
        parsed: dict[str, Any] = yaml.load(raw, Loader=loader)  # noqa: S506  # a safe loader, the fast one where it is there
        secrets: Mapping[str, Mapping[str, Any]] = parsed["secrets"]
        named = [{"name": secret, **fields} for secret, fields in secrets.items()]
        return shapes.convert({**parsed, "secrets": named}, Summary)
    except (yaml.YAMLError, msgspec.ValidationError, LookupError, TypeError, AttributeError) as error:
        hint = f"remove it; it is written again from secrets.age: rm {name}"
        raise ManifestError(f"{name} is damaged", hint=hint) from error


def moment(at: datetime) -> str:
    """A moment as metadata holds it: UTC, ISO 8601, to the second."""
    return at.astimezone(UTC).strftime("%Y-%m-%dT%H:%M:%SZ")


def read_moment(said: str) -> datetime:
    """The moment that metadata holds. Raises ValueError: it is none."""
    return datetime.fromisoformat(said).astimezone(UTC)


def _scalar(value: object) -> str:
    """Return a scalar as YAML: JSON text is YAML text, and needs no library to write."""
    return json.dumps(value, ensure_ascii=False)
