"""Swap in a file, where memory is small."""

from __future__ import annotations

import shlex
from typing import Annotated, Any, ClassVar

from msgspec import Meta

from otobotctl.plan.fields import State
from otobotctl.plan.model import Change, Facts, Spec

_MIB = 1 << 20
# As in AbsolutePath, and nothing that /etc/fstab would have to quote.
Path = Annotated[str, Meta(pattern=r"\A(?!.*(?:/|\A)\.\.(?:/|\Z))/[A-Za-z0-9/._-]*[A-Za-z0-9._-]\Z")]
Mebibytes = Annotated[int, Meta(ge=1, le=1 << 20)]


class SwapSpec(Spec, frozen=True, forbid_unknown_fields=True, kw_only=True):
    """A host has a swap file at `path`, now and after a reboot.

    Only where it has no other swap, its memory is below `below_memory_mb`, and its disk has `free_mb` left before;
    a container never, whose kernel is not its own. `absent` takes this file away again, and no other swap.
    """

    kind: ClassVar[str] = "swap"

    path: Path = "/swapfile"
    size_mb: Mebibytes = 1024
    below_memory_mb: Mebibytes = 3710
    free_mb: Mebibytes = 4096
    state: State = "present"

    def __post_init__(self) -> None:
        if self.free_mb <= self.size_mb:
            raise ValueError("free_mb must be more than size_mb, or the file would fill the disk")

    def question(self) -> dict[str, Any]:
        """The path."""
        return {"path": self.path}

    def compare(self, facts: Facts) -> tuple[Change, ...]:
        """By what the kernel uses now and what /etc/fstab says."""
        if self.state == "absent":
            there = facts["active"] or facts["listed"]
            return (Change("state", "present", "absent"),) if there else ()
        if facts["active"]:
            return () if facts["listed"] else (Change("/etc/fstab", "not there", "on at every start"),)
        wanted = (
            not facts["others"]
            and not facts["container"]
            and facts["_memory_bytes"] < self.below_memory_mb * _MIB
            and facts["_free_bytes"] >= self.free_mb * _MIB
        )
        return (Change("swap", "none", f"{self.size_mb} MiB"),) if wanted else ()

    def wire(self) -> dict[str, Any]:
        """The path, the size and the state."""
        return {**self.question(), "size_mb": self.size_mb, "state": self.state}

    def title(self) -> str:
        """The path."""
        return self.path

    def commands(self) -> tuple[str, ...]:
        """Make, use, note; or the same backwards."""
        path = shlex.quote(self.path)
        if self.state == "absent":
            return (f"swapoff {path}", rf"sed -i '\#^{self.path}[[:blank:]]#d' /etc/fstab", f"rm -f {path}")
        return (
            f"(umask 077 && dd if=/dev/zero of={path} bs=1M count={self.size_mb})",
            f"mkswap {path}",
            f"swapon {path}",
            f"echo '{self.path} none swap sw 0 0' >> /etc/fstab",
        )

    def touches(self) -> tuple[str, ...]:
        """The file and the table."""
        return (self.path, "/etc/fstab")


SPEC = SwapSpec
