"""A client's data brought back from an archive, once."""

from __future__ import annotations

import hashlib
from typing import Annotated, Any, ClassVar, Literal

import msgspec
from msgspec import Meta

from otobotctl.plan.model import Change, Facts, Spec

_SQL = r"\A([A-Za-z_][A-Za-z0-9_$]{0,62}(\.[A-Za-z_][A-Za-z0-9_$]{0,62})?)?\Z"


class Proof(msgspec.Struct, frozen=True, forbid_unknown_fields=True, kw_only=True):
    """A program in a service's container that says whether its data is as it should be."""

    service: str
    argv: tuple[str, ...]


class RestoreSpec(Spec, frozen=True, forbid_unknown_fields=True, kw_only=True):
    """The archive `id`, else the newest not after `until` (Unix seconds), restored by this very `run`.

    All of it, or what one `service` has, one `database`, one `table` (beside the live one, or in its place with
    `replace`), or one `user` of the vault. With a `moment` and point-in-time recovery, PostgreSQL comes back as it was
    at `until` exactly, or at the latest moment that is known of what ran then.
    One that the same request has made after `since` is this one.
    """

    kind: ClassVar[str] = "restore"

    client: Annotated[str, Meta(pattern=r"\A[a-z0-9][a-z0-9-]{0,62}\Z")]
    run: Annotated[str, Meta(min_length=1)]
    since: float
    id: Annotated[str, Meta(pattern=r"\A[0-9A-Za-z-]{0,64}\Z")] = ""
    until: float | None = None
    moment: Literal["", "exact", "latest"] = ""
    target: str = ""
    service: str = ""
    database: Annotated[str, Meta(pattern=r"\A[A-Za-z0-9_]{0,63}\Z")] = ""
    table: Annotated[str, Meta(pattern=_SQL)] = ""
    user: str = ""
    replace: bool = False
    safety: bool = True
    proofs: tuple[Proof, ...] = ()

    def question(self) -> dict[str, Any]:
        """Whose restores."""
        return {"client": self.client}

    def compare(self, facts: Facts) -> tuple[Change, ...]:
        """By who made the last one, for what."""
        ours = facts["run"] == self.run or (facts["request"] == self.request and facts["at"] >= self.since)
        return () if ours else (Change("data", "as it is", self._what()),)

    @property
    def request(self) -> str:
        """What is asked for, as a short digest."""
        what = [self.id, self.until, self.target, self.service, self.database, self.table, self.user, self.replace]
        what += [self.moment] if self.moment else []
        return hashlib.sha256(msgspec.json.encode(what)).hexdigest()[:16]

    def wire(self) -> dict[str, Any]:
        """Everything."""
        return {**msgspec.to_builtins(self), "request": self.request}

    def _what(self) -> str:
        if self.moment:
            return f"everything as it was at {'the latest moment' if self.moment == 'latest' else 'the moment'}"
        part = self.table or self.user or self.database or self.service or "everything"
        return f"{part} as in {self.id or 'the newest archive'}"

    def title(self) -> str:
        """The client and what of it."""
        return f"{self.client} {self._what()}"

    def commands(self) -> tuple[str, ...]:
        """The heart of it."""
        return ("restic dump SNAPSHOT /databases/NAME.dump | pg_restore --exit-on-error --dbname=NAME_restoring",)


SPEC = RestoreSpec
