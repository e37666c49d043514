"""Addresses held off, and a host shut but for SSH: what an incident asks for."""

from __future__ import annotations

import ipaddress
import shlex
from typing import Annotated, Any, ClassVar

import msgspec
from msgspec import Meta

from otobotctl.plan.model import Change, Facts, Spec


class Block(msgspec.Struct, frozen=True, forbid_unknown_fields=True, kw_only=True):
    """An address or network that is held off; `until` in Unix seconds, 0: for good."""

    address: str
    until: int = 0

    def __post_init__(self) -> None:
        if canonical(self.address) != self.address:
            raise ValueError(f"{self.address} is written {canonical(self.address)}")


class ShieldSpec(Spec, frozen=True, forbid_unknown_fields=True, kw_only=True):
    """Hold off `blocked`, let `freed` in again, isolate the host but for SSH from these addresses, or `release` it.

    Whoever is not named stays as he is. `spared` may never be held off, and may always come by SSH. An isolation is
    taken back by the host itself after `trial_s` seconds unless a `login` step of a later stage comes in anew.
    """

    kind: ClassVar[str] = "shield"

    blocked: tuple[Block, ...] = ()
    freed: tuple[str, ...] = ()
    isolate: tuple[str, ...] = ()
    release: bool = False
    spared: tuple[str, ...] = ()
    trial_s: Annotated[int, Meta(ge=5, le=3600)] = 120

    def question(self) -> dict[str, Any]:
        """There is one shield."""
        return {}

    def compare(self, facts: Facts) -> tuple[Change, ...]:
        """By what the host's shield is told, and whether its kernel has the rules."""
        held = facts["blocked"]
        changes = [
            Change("address", "held off" if block.address in held else "let in", f"{block.address} held off")
            for block in self.blocked
            if held.get(block.address) != block.until
        ]
        changes += [Change("address", f"{each} held off", "let in") for each in self.freed if each in held]
        if self.isolate and not set(self.isolate) <= set(facts["isolated"] or ()):
            changes.append(Change("host", "open", f"SSH alone, from {', '.join(self.isolate)}"))
        if self.release and facts["isolated"] is not None:
            changes.append(Change("host", "isolated", "open"))
        if not facts["enforced"]:
            changes.append(Change("rules", "not in force", "in force"))
        if facts["restored"] and (self.isolate or self.release):
            after = "tried again" if self.isolate else "forgotten"
            changes.append(Change("trial", f"taken back at {facts['restored']}: no new login came", after))
        return tuple(changes)

    def title(self) -> str:
        """What is done, in words."""
        said = [f"hold off {block.address}" for block in self.blocked]
        said += [f"let in {address}" for address in self.freed]
        said += ["isolate"] if self.isolate else []
        said += ["open the host again"] if self.release else []
        return ", ".join(said) or "the shield in force"

    def commands(self) -> tuple[str, ...]:
        """As by hand: the host's script and its files."""
        lines = [f"echo {shlex.quote(f'{b.address} {b.until}')} >> /etc/otobot/shield/blocked" for b in self.blocked]
        lines += [f"echo {shlex.quote(each)} >> /etc/otobot/shield/isolated" for each in self.isolate]
        return (*lines, *(["rm /etc/otobot/shield/isolated"] if self.release else []), "otobot-shield")


def canonical(text: str) -> str:
    """An address or network in the one way that it is written here. Raises ValueError."""
    network = ipaddress.ip_network(text, strict=False)
    return str(network.network_address) if network.num_addresses == 1 else str(network)


SPEC = ShieldSpec
