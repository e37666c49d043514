"""Keys and passwords have the length and the form they must have ("ENCRYPTION_MASTER_KEY must be 32 bytes")."""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from typing import Final

from otobotctl.doctor.model import Case, Check, Finding
from otobotctl.render import layout

_HEX, _ALNUM, _URL = ("hex",), ("hex", "alnum"), ("hex", "alnum", "base64url")
# kind: shortest, longest (None: any), shapes, in words. What a person gave has no form that could be told.
FORMS: Final[Mapping[str, tuple[int, int | None, tuple[str, ...], str]]] = {
    "hex16": (32, 32, _HEX, "16 bytes, which are 32 hexadecimal characters"),
    "hex32": (64, 64, _HEX, "32 bytes, which are 64 hexadecimal characters"),
    "hex64": (128, 128, _HEX, "64 bytes, which are 128 hexadecimal characters"),
    "base64url48": (64, 64, _URL, "48 bytes, which are 64 characters of base64url"),
    "password": (32, None, _ALNUM, "at least 32 letters and digits"),
}


def judge(case: Case) -> Iterator[Finding]:
    """Each value whose length or shape is not that of its kind, once a client and secret."""
    for client in case.clients:
        wanted = case.wanted.variables.get(client.slug, {})
        for each in case.containers(layout.project(client.slug)):
            for name, variable in wanted.get(each["service"], {}).items():
                form, there = FORMS.get(variable.kind), each["environment"].get(name)
                if form is None or there is None or not there[0]:
                    continue
                (length, shape), (low, high, shapes, words) = there, form
                if length < low or (high is not None and length > high) or shape not in shapes:
                    held = "" if shape in shapes else ", and not of the right kind"
                    yield Finding(
                        "critical",
                        f"{client.slug}/{each['service']}",
                        f"{name} must be {words}; it has {length} characters{held}",
                        f"otobotctl client deploy {client.slug}",
                    )


CHECK = Check("keys", "Keys and passwords have their length and form.", judge)
