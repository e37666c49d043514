"""One apt repository and the key that it is checked with."""

from __future__ import annotations

import base64
import binascii
import hashlib
import re
from typing import Annotated, Any, ClassVar

from msgspec import Meta

from otobotctl.plan.fields import State, unified
from otobotctl.plan.model import Change, Facts, Spec

_BLOCK = re.compile(
    r"-----BEGIN PGP PUBLIC KEY BLOCK-----\r?\n(?:[^\n]+\n)*?\s*\n(?P<body>[A-Za-z0-9+/=\s]+?)(?:^=[^\n]{4}\s*)?"
    r"-----END PGP PUBLIC KEY BLOCK-----",
    re.MULTILINE,
)
_FINGERPRINT = re.compile("[0-9A-F]{40}")
Word = Annotated[str, Meta(pattern=r"\A[!-~]+\Z")]
Name = Annotated[str, Meta(pattern=r"\A[a-zA-Z0-9][a-zA-Z0-9_.-]*\Z")]
Url = Annotated[str, Meta(pattern=r"\Ahttps?://[!-~]+\Z")]


class AptRepositorySpec(Spec, frozen=True, forbid_unknown_fields=True, kw_only=True):
    """apt knows this repository and trusts this one key for it, and for nothing else.

    `{codename}` and `{id}` (trixie, debian) of the host are filled in in uris, suites and key_url. Either `key`, the
    armoured public key, or `key_url` with the `fingerprint` that the fetched key must have.
    """

    kind: ClassVar[str] = "apt_repository"

    name: Name
    uris: tuple[Word, ...] = ()
    suites: tuple[Word, ...] = ("{codename}",)
    components: tuple[Word, ...] = ()
    key: str | None = None
    key_url: Url | None = None
    fingerprint: str | None = None
    state: State = "present"

    def __post_init__(self) -> None:
        if self.fingerprint is not None and not _FINGERPRINT.fullmatch(self._fingerprint() or ""):
            raise ValueError("fingerprint must be 40 hexadecimal digits (spaces are fine)")
        if self.state == "absent":
            return
        if not self.uris:
            raise ValueError("give uris")
        if (self.key is None) == (self.key_url is None):
            raise ValueError("give either key or key_url")
        if self.key_url is not None and self.fingerprint is None:
            raise ValueError("a key_url needs the fingerprint of the key")
        if any(suite.endswith("/") for suite in self.suites) == bool(self.components):
            raise ValueError("give components; or none where the suites end with /")
        self._key_bytes()

    def _fingerprint(self) -> str | None:
        return None if self.fingerprint is None else re.sub(r"\s", "", self.fingerprint).upper()

    def _key_bytes(self) -> bytes | None:
        if self.key is None:
            return None
        blocks = [found["body"] for found in _BLOCK.finditer(self.key)]
        if len(blocks) != 1:
            raise ValueError("key must be one armoured block: -----BEGIN PGP PUBLIC KEY BLOCK-----")
        try:
            return base64.b64decode(re.sub(r"\s", "", blocks[0]), validate=True)
        except binascii.Error:
            raise ValueError("the armoured key is damaged") from None

    def sources(self) -> str:
        """The deb822 file, before {codename} and {id} are filled in."""
        lines = ["Types: deb", f"URIs: {' '.join(self.uris)}", f"Suites: {' '.join(self.suites)}"]
        lines += [f"Components: {' '.join(self.components)}"] if self.components else []
        return "\n".join([*lines, f"Signed-By: {self.touches()[0]}", ""])

    def question(self) -> dict[str, Any]:
        """The name."""
        return {"name": self.name}

    def wire(self) -> dict[str, Any]:
        """The unfilled sources, and the key or where to fetch it."""
        key = self._key_bytes()
        wire = {
            "name": self.name,
            "state": self.state,
            "sources": self.sources(),
            "key_base64": None if key is None else base64.b64encode(key).decode(),
            "key_url": self.key_url,
            "fingerprint": self._fingerprint(),
        }
        return {name: value for name, value in wire.items() if value is not None}

    def compare(self, facts: Facts) -> tuple[Change, ...]:
        """By the sources file, the keys in the keyring, and whether one has expired."""
        there = facts["sources"] is not None or facts["key_sha256"] is not None
        if self.state == "absent":
            return (Change("state", "present", "absent"),) if there else ()
        changes = [] if self._key_matches(facts) else [self._key_change(facts)]
        if facts["expired"]:
            changes = [Change("key", f"expired: {', '.join(facts['expired'])}", "renewed")]
        wanted = self._filled(facts)
        if facts["sources"] != wanted:
            before = facts["sources"] or ""
            diff = unified(self.touches()[1], before, wanted)
            changes.append(Change("sources", "" if before else "absent", diff=diff))
        return tuple(changes)

    def _key_matches(self, facts: Facts) -> bool:
        key, wanted = self._key_bytes(), self._fingerprint()
        if wanted is not None and facts["fingerprints"] != [wanted]:
            return False
        return key is None or facts["key_sha256"] == hashlib.sha256(key).hexdigest()

    def _key_change(self, facts: Facts) -> Change:
        before = ", ".join(facts["fingerprints"]) or "absent"
        return Change("key", before, self._fingerprint() or "the given key")

    def _filled(self, facts: Facts) -> str:
        text = self.sources()
        for word in ("id", "codename"):
            text = text.replace("{" + word + "}", str(facts[word]))
        return text

    def title(self) -> str:
        """The name and where it is."""
        return f"{self.name}: {' '.join(self.uris)}" if self.uris else self.name

    def commands(self) -> tuple[str, ...]:
        """A download, its check and the file."""
        keyring, sources = self.touches()
        if self.state == "absent":
            return (f"rm -f {sources} {keyring}",)
        got = "the given key" if self.key_url is None else f"curl -fsSL {self.key_url}"
        return (f"{got} | gpg --dearmor > {keyring}", f"gpg --show-keys {keyring}", f"install -m 0644 NEW {sources}")

    def touches(self) -> tuple[str, ...]:
        """The keyring and the sources file."""
        return (f"/etc/apt/keyrings/{self.name}.gpg", f"/etc/apt/sources.list.d/{self.name}.sources")


SPEC = AptRepositorySpec
