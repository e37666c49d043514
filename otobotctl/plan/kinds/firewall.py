"""ufw: what may come in; SSH always may."""

from __future__ import annotations

import ipaddress
import shlex
from typing import Annotated, Any, ClassVar, Literal

import msgspec
from msgspec import Meta

from otobotctl.plan.model import Change, Facts, Spec

ANY = "any"


class Allow(msgspec.Struct, frozen=True, forbid_unknown_fields=True, kw_only=True):
    """One port that may be reached, from anywhere or from one address or network."""

    port: Annotated[int, Meta(ge=1, le=65535)]
    proto: Literal["tcp", "udp"] = "tcp"
    from_address: str | None = None

    def __post_init__(self) -> None:
        if self.from_address is not None:
            ipaddress.ip_network(self.from_address, strict=False)

    def key(self) -> str:
        """How the host's answer names this rule."""
        return f"{self.port}/{self.proto} from {self._source()}"

    def _source(self) -> str:
        if self.from_address is None:
            return ANY
        network = ipaddress.ip_network(self.from_address, strict=False)
        if network.prefixlen == 0:
            return ANY
        return str(network.network_address) if network.num_addresses == 1 else str(network)


class FirewallSpec(Spec, frozen=True, forbid_unknown_fields=True, kw_only=True):
    """Nothing comes in but `allow` and SSH (on whatever ports the host has it), over IPv4 and IPv6; all goes out.

    Rules that others made stay; ours carry the comment "otobot" and go when nobody wants them any more. Ports that
    Docker publishes do not pass here: they must bind 127.0.0.1. `trial_s`: where it is switched on, the host itself
    switches it off again after so many seconds unless a `login` step of a later stage comes in by a new login.
    """

    kind: ClassVar[str] = "firewall"

    allow: tuple[Allow, ...] = ()
    trial_s: Annotated[int, Meta(ge=5, le=3600)] | None = None

    def question(self) -> dict[str, Any]:
        """There is one firewall."""
        return {}

    def compare(self, facts: Facts) -> tuple[Change, ...]:
        """By the rules of both families, the policies, and whether the kernel filters now and at boot."""
        wanted = {rule.key() for rule in self.allow} | {f"{port}/tcp from {ANY}" for port in facts["_ssh"]}
        changes = [Change("rule", "absent", f"allow {key}") for key in sorted(wanted.difference(facts["allowed"]))]
        if not facts["installed"]:
            return (*changes, Change("firewall", "not installed", "enabled"))
        changes += [Change("rule", f"allow {key}", "removed") for key in sorted(set(facts["owned"]) - wanted)]
        for what, after in (("incoming", "drop"), ("outgoing", "accept")):
            if facts[what] != after:
                changes.append(Change(what, facts[what], after))
        if not facts["ipv6"]:
            changes.append(Change("ipv6", "not filtered", "filtered"))
        if not (facts["enabled"] and facts["active"]):
            changes.append(Change("firewall", "disabled" if not facts["enabled"] else "not running", "enabled"))
        elif not facts["loaded"]:
            changes.append(Change("firewall", "the kernel has other rules than the files", "loaded again"))
        if facts.get("restored"):
            changes.append(Change("trial", f"taken back at {facts['restored']}: no new login came", "tried again"))
        return tuple(changes)

    def wire(self) -> dict[str, Any]:
        """The wanted rules by name, and how long they are on trial where they are."""
        wanted: dict[str, Any] = {"allow": sorted({rule.key() for rule in self.allow})}
        return wanted if self.trial_s is None else {**wanted, "trial_s": self.trial_s}

    def title(self) -> str:
        """What is let in."""
        return "allow SSH" + "".join(f", {key.removesuffix(f' from {ANY}')}" for key in self.wire()["allow"])

    def commands(self) -> tuple[str, ...]:
        """ufw, as by hand."""
        rules = []
        for rule in self.allow:
            source = shlex.quote(rule.key().partition(" from ")[2])
            rules.append(f"ufw allow proto {rule.proto} from {source} to any port {rule.port} comment otobot")
        policies = ("ufw default deny incoming", "ufw default allow outgoing", "ufw --force enable")
        return ("ufw allow proto tcp from any to any port SSH_PORT comment otobot", *rules, *policies)


SPEC = FirewallSpec
