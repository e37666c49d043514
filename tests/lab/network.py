"""The lab's network: one namespace with one bridge; hosts reach DNS and web ports of the outside and nothing on this machine."""

from __future__ import annotations

import contextlib
import os
import re
from collections.abc import Iterator
from pathlib import Path

from tests.lab.shell import LabError, output, quietly, run
from tests.lab.slot import RUNTIME, SLOTS, Slot, locked, try_lock

_FORWARD = Path("/proc/sys/net/ipv4/ip_forward")
_FORWARD_WAS_OFF = RUNTIME / "ip_forward-was-off"


def nameserver() -> str:
    """Return the resolver that hosts use: the one of this machine, which must not be on its loopback."""
    for name in ("/run/systemd/resolve/resolv.conf", "/etc/resolv.conf"):
        with contextlib.suppress(OSError):
            for address in re.findall(r"^nameserver\s+([\d.]+)", Path(name).read_text(), re.MULTILINE):
                if not address.startswith("127."):
                    return str(address)
    raise LabError("no name server outside this machine in resolv.conf: hosts could resolve nothing")


def _wide() -> str:
    """The interface of the default route."""
    found = re.search(r"dev (\S+)", output("ip", "-4", "route", "show", "default"))
    if not found:
        raise LabError("this machine has no default route: hosts could install nothing")
    return found[1]


def _rules(slot: Slot) -> Iterator[tuple[str, str]]:
    """Table and rule, in the order in which they are inserted at the top: the last one is met first."""
    wide, comment = _wide(), f"-m comment --comment {slot.tag}"
    yield "nat", f"POSTROUTING -s {slot.prefix}.0/24 -o {wide} {comment} -j MASQUERADE"
    yield "filter", f"FORWARD -i {slot.uplink} {comment} -j REJECT"
    yield "filter", f"FORWARD -i {slot.uplink} -o {wide} -p tcp -m multiport --dports 53,80,443 {comment} -j ACCEPT"
    yield "filter", f"FORWARD -i {slot.uplink} -o {wide} -p udp --dport 53 {comment} -j ACCEPT"
    yield "filter", f"FORWARD -i {wide} -o {slot.uplink} -m conntrack --ctstate RELATED,ESTABLISHED {comment} -j ACCEPT"
    yield "filter", f"INPUT -i {slot.uplink} -m conntrack --ctstate NEW {comment} -j REJECT"


def taken(slot: Slot) -> bool:
    """Return whether somebody else on this machine uses the slot's addresses."""
    return any(
        output("ip", "-4", *words)
        for network in (f"{slot.prefix}.0/24", f"{slot.outside}/30")
        for words in (("route", "show", "root", network), ("addr", "show", "to", network))
    )


def up(slot: Slot) -> None:
    """Make the namespace, the bridge, the cable to it and the rules."""
    inner = ("ip", "-n", slot.namespace)
    run("ip", "netns", "add", slot.namespace)
    run("ip", "link", "add", slot.uplink, "type", "veth", "peer", "name", f"{slot.uplink}i", "netns", slot.namespace)
    run("ip", "addr", "add", f"{slot.outside}/30", "dev", slot.uplink)
    run("ip", "link", "set", slot.uplink, "up")
    run(*inner, "link", "set", "lo", "up")
    run(*inner, "addr", "add", f"{slot.inside}/30", "dev", f"{slot.uplink}i")
    run(*inner, "link", "set", f"{slot.uplink}i", "up")
    run(*inner, "route", "add", "default", "via", slot.outside)
    run(*inner, "link", "add", slot.bridge, "type", "bridge")
    for address in (slot.gateway, slot.registry):
        run(*inner, "addr", "add", f"{address}/24", "dev", slot.bridge)
    run(*inner, "link", "set", slot.bridge, "up")
    for setting in ("net.ipv4.ip_forward=1", "net.ipv6.conf.all.forwarding=1", "net.bridge.bridge-nf-call-iptables=0"):
        quietly("ip", "netns", "exec", slot.namespace, "sysctl", "-qw", setting)
    run("ip", "route", "add", f"{slot.prefix}.0/24", "via", slot.inside)
    _up6(slot)
    with locked(RUNTIME / "forward.lock"):
        if _FORWARD.read_text().strip() == "0":
            _FORWARD_WAS_OFF.touch()
            _FORWARD.write_text("1")
    for table, rule in _rules(slot):
        run("iptables", "-w", "60", "-t", table, "-I", *rule.split())


def _up6(slot: Slot) -> None:
    """Private IPv6 between this machine and the hosts; a machine without IPv6 goes without."""
    inner, cable = ("ip", "-n", slot.namespace), f"fd10:204:{slot.number}:"
    quietly(*inner, "addr", "add", f"{slot.prefix6}:1/64", "dev", slot.bridge, "nodad")
    quietly(*inner, "addr", "add", f"{cable}:2/64", "dev", f"{slot.uplink}i", "nodad")
    quietly("ip", "addr", "add", f"{cable}:1/64", "dev", slot.uplink, "nodad")
    quietly(*inner, "-6", "route", "add", "default", "via", f"{cable}:1")
    quietly("ip", "-6", "route", "add", f"{slot.prefix6}:/64", "via", f"{cable}:2")


def down(slot: Slot) -> None:
    """Take away all of it, also what a killed lab left half made."""
    for table in ("nat", "filter"):
        for line in output("iptables-save", "-t", table, check=False).splitlines():
            if line.startswith("-A ") and slot.tag in line.split():
                quietly("iptables", "-w", "60", "-t", table, "-D", *line.split()[1:])
    quietly("ip", "link", "del", slot.uplink)
    if Path(f"/run/netns/{slot.namespace}").exists():
        quietly("ip", "netns", "del", slot.namespace)
    _restore_forwarding(slot)


def _restore_forwarding(slot: Slot) -> None:
    """The last lab to leave turns forwarding off again, if it was off."""
    with locked(RUNTIME / "forward.lock"):
        others = [try_lock(Slot(number).lock) for number in range(SLOTS) if number != slot.number]
        for descriptor in others:
            if descriptor is not None:
                os.close(descriptor)
        if _FORWARD_WAS_OFF.exists() and None not in others:
            _FORWARD.write_text("0")
            _FORWARD_WAS_OFF.unlink()
