"""Packages of the distribution."""

from __future__ import annotations

from typing import Annotated, Any, ClassVar

from msgspec import Meta

from otobotctl.plan.fields import State
from otobotctl.plan.model import Change, Facts, Spec

PackageName = Annotated[str, Meta(pattern=r"\A[a-z0-9][a-z0-9+.-]+(?:\|[a-z0-9][a-z0-9+.-]+)*\Z")]


class PackageSpec(Spec, frozen=True, forbid_unknown_fields=True, kw_only=True):
    """Every one of `names` is installed, or none is. "a|b": the first of the two that the host's apt knows.

    `refresh_s`: how old, in seconds, apt's index may be before it is read anew; it always is for an unknown name.
    Configuration files that were changed by hand are kept, recommended packages are not added, and nothing is
    removed to make room: an install that needs that fails.
    """

    kind: ClassVar[str] = "package"

    names: Annotated[tuple[PackageName, ...], Meta(min_length=1)]
    refresh_s: Annotated[int, Meta(ge=0)] = 86400
    state: State = "present"

    def question(self) -> dict[str, Any]:
        """The names."""
        return {"names": list(self.names)}

    def compare(self, facts: Facts) -> tuple[Change, ...]:
        """By what dpkg has installed."""
        installed = facts["installed"]
        if self.state == "absent":
            return tuple(Change(name, version, "absent") for name, version in sorted(installed.items()))
        missing = [entry for entry in self.names if not any(name in installed for name in entry.split("|"))]
        return tuple(Change(entry, "absent", "installed") for entry in missing)

    def title(self) -> str:
        """The names."""
        return ", ".join(self.names)

    def commands(self) -> tuple[str, ...]:
        """One apt-get, after an update where the index is old."""
        words = " ".join(name.split("|")[0] for name in self.names)
        if self.state == "absent":
            return (f"apt-get remove --yes {words}",)
        return ("apt-get update", f"apt-get install --yes --no-install-recommends --no-remove {words}")


SPEC = PackageSpec
