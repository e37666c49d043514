"""One public key that may log in as a user."""

from __future__ import annotations

import base64
import binascii
import re
import shlex
from typing import Any, ClassVar

from otobotctl.plan.fields import Name, State, printable
from otobotctl.plan.model import Change, Facts, Spec

_KEY = re.compile(
    r"(?P<options>(?:[^\s\"]|\"(?:[^\"\\]|\\.)*\")+[ \t]+)??"
    r"(?P<type>ssh-(?:ed25519|rsa)|ecdsa-sha2-nistp(?:256|384|521)|sk-(?:ssh-ed25519|ecdsa-sha2-nistp256)@openssh\.com)"
    r"[ \t]+(?P<blob>[A-Za-z0-9+/]+=*)(?:[ \t]+(?P<comment>[^\n\r\x00]*))?"
)


class AuthorizedKeySpec(Spec, frozen=True, forbid_unknown_fields=True, kw_only=True):
    """`key` (one line of an OpenSSH public key, with options if it shall have them) may log in as `user`.

    Other keys stay. The same key on the host keeps its own options unless `key` brings some.
    """

    kind: ClassVar[str] = "authorized_key"

    user: Name
    key: str
    state: State = "present"

    def __post_init__(self) -> None:
        found = _KEY.fullmatch(self.key)
        if found is None:
            raise ValueError("key must be one line such as `ssh-ed25519 AAAA... name`, and public")
        try:
            blob = base64.b64decode(found["blob"], validate=True)
        except binascii.Error:
            raise ValueError("the key is cut short: its middle part is not base64") from None
        named = blob[4 : 4 + int.from_bytes(blob[:4], "big")].decode("ascii", "replace")
        if named != found["type"]:
            raise ValueError("the key is damaged: its type and its content differ")

    def _part(self, name: str) -> str:
        found = _KEY.fullmatch(self.key)
        return (found[name] or "").strip() if found else ""

    def question(self) -> dict[str, Any]:
        """The user and the key."""
        return {"user": self.user, "key": self.key}

    def compare(self, facts: Facts) -> tuple[Change, ...]:
        """By the key itself, its options where given, and who else can write the file."""
        if self.state == "absent":
            return (Change("key", "present", "absent"),) if facts["present"] else ()
        if not facts["present"]:
            return (Change("key", "absent", "present"),)
        options, there = self._part("options"), facts["options"] or ""
        if options and options != there:
            return (Change("options", printable(there), options),)
        return () if facts["_private"] else (Change("mode", "open to others", "0600, the user's own"),)

    def title(self) -> str:
        """The user and the key's comment."""
        return f"{self.user}: {self._part('comment') or self._part('blob')[-12:]}"

    def commands(self) -> tuple[str, ...]:
        """A redirection that does about the same."""
        file = f"~{self.user}/.ssh/authorized_keys"
        if self.state == "absent":
            return (f"sed -i '\\|{self._part('blob')}|d' {file}",)
        return (f"echo {shlex.quote(self.key)} >> {file}", f"chmod 0600 {file}")

    def touches(self) -> tuple[str, ...]:
        """The user's file."""
        return (f"~{self.user}/.ssh/authorized_keys",)


SPEC = AuthorizedKeySpec
