"""An earlier release of a client made current again."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Annotated, Any, ClassVar

from msgspec import Meta

from otobotctl.plan.images import direction, tag
from otobotctl.plan.model import Change, Facts, Spec
from otobotctl.render.layout import BASE


class EarlierReleaseSpec(Spec, frozen=True, forbid_unknown_fields=True, kw_only=True):
    """Release `to` of `client`, which is on the host already, is current and healthy; 0 only asks which there are.

    One of the `stateful` services goes back to an older version only with `allow_downgrade`.
    """

    kind: ClassVar[str] = "earlier_release"

    client: Annotated[str, Meta(pattern=r"\A[a-z0-9][a-z0-9-]{0,62}\Z")]
    project: Annotated[str, Meta(pattern=r"\A[a-z0-9][a-z0-9_-]{0,62}\Z")]
    to: Annotated[int, Meta(ge=0)] = 0
    stateful: tuple[str, ...] = ()
    allow_downgrade: bool = False

    def question(self) -> dict[str, Any]:
        """Whose releases."""
        return {"client": self.client, "project": self.project}

    def compare(self, facts: Facts) -> tuple[Change, ...]:
        """By the number of the current release, the versions of both, and the health of every container."""
        if facts["current"] == self.to and facts["settled"] and not facts["_trouble"]:
            return ()
        known = {each["number"]: each for each in facts["releases"]}
        if self.to not in known:
            there = ", ".join(map(str, known)) or "none"
            return (Change("release", str(facts["current"]), str(self.to), refused=f"on the host are: {there}"),)
        if facts["current"] == self.to:
            return (Change("release", f"{self.to}, not healthy", "healthy"),)
        now = known.get(facts["current"], {}).get("images") or {}
        changes = [Change("release", str(facts["current"]), str(self.to))]
        return (*changes, *self._versions(now, known[self.to].get("images") or {}))

    def _versions(self, now: Mapping[str, str], then: Mapping[str, str]) -> list[Change]:
        return [
            self._version(name, now[name], then[name])
            for name in sorted(then)
            if now.get(name, then[name]) != then[name]
        ]

    def _version(self, name: str, now: str, then: str) -> Change:
        way = direction(now, then)
        refused = ""
        if way == "downgrade" and name in self.stateful and not self.allow_downgrade:
            refused = f"{name} holds data that an older version cannot read; restore an archive, or add --force"
        return Change(f"{way} {name}", tag(now), tag(then), refused=refused)

    def wire(self) -> dict[str, Any]:
        """The question, and the number."""
        return {**self.question(), "to": self.to}

    def title(self) -> str:
        """The client and the number."""
        return f"{self.client} release {self.to}"

    def commands(self) -> tuple[str, ...]:
        """Switch, up."""
        home = f"{BASE}/{self.client}"
        up = f"docker compose --project-name {self.project} --project-directory {home}/current"
        return (f"ln -sfn releases/{self.to} {home}/current", f"{up} up --detach --remove-orphans --wait")

    def touches(self) -> tuple[str, ...]:
        """The current release."""
        return (f"{BASE}/{self.client}/current",)


SPEC = EarlierReleaseSpec
