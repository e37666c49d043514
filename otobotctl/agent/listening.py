"""What listens on this host and which addresses it has, read from the kernel's own files."""

from __future__ import annotations

import os
import socket
import struct
from typing import Any, Dict, List

from otobotctl.agent.shell import ask

_LISTEN = "0A"
_SYNCHRONISED = "NTPSynchronized=yes"


def sockets() -> List[List[Any]]:
    """Every TCP socket that listens: [address, port], loopback included, in order."""
    found = set()
    for path, family in (("/proc/net/tcp", socket.AF_INET), ("/proc/net/tcp6", socket.AF_INET6)):
        if os.path.exists(path):  # without IPv6 there is no tcp6
            with open(path) as stream:
                found.update(parse(stream.read(), family))
    return [list(each) for each in sorted(found)]


def parse(text: str, family: int) -> "List[tuple[str, int]]":
    """The listening sockets of /proc/net/tcp or tcp6."""
    found = []
    for line in text.splitlines()[1:]:
        words = line.split()
        if words[3:4] == [_LISTEN]:
            address, _, port = words[1].partition(":")
            # The kernel prints each 32 bits of an address in the machine's own order.
            numbers = struct.unpack(">{}I".format(len(address) // 8), bytes.fromhex(address))
            packed = struct.pack("={}I".format(len(numbers)), *numbers)
            found.append((socket.inet_ntop(family, packed), int(port, 16)))
    return found


def addresses() -> List[str]:
    """The addresses of this host that others may use: no loopback, no link-local, none of Docker's bridges."""
    answer = ask(["ip", "-oneline", "address", "show", "scope", "global"], timeout_s=10.0)
    found = []
    for line in answer.stdout.splitlines():
        words = line.split()
        if words[2] in ("inet", "inet6") and not words[1].startswith(("docker", "br-", "veth")):
            found.append(words[3].partition("/")[0])
    return found


def clock() -> Dict[str, Any]:
    """Whether something keeps this host's clock right; None where that is the business of the machine below it."""
    if ask(["systemd-detect-virt", "--quiet", "--container"], timeout_s=10.0).status == 0:
        return {"synchronised": None}
    answer = ask(["timedatectl", "show", "--property=NTPSynchronized"], timeout_s=10.0)
    return {"synchronised": None if answer.status else answer.stdout.strip() == _SYNCHRONISED}
