"""The ports that SSH comes in by, asked in every way there is: a port that is missed is an operator locked out."""

from __future__ import annotations

import os
import re
from typing import Dict, List, Optional, Set, Tuple

from otobotctl.agent.shell import ask

_PROGRAMS = re.compile(r'"(?:sshd|sshd-session|sshd-auth|dropbear)"')
_SOCKETS = ("ssh.socket", "sshd.socket")
_SESSIONS = ("sshd", "sshd-session")


def ports() -> List[int]:
    """Ports sshd is configured for, listens on, or has a session on now (this one included), in order."""
    found = configured_ports(ask(["sshd", "-T"]).stdout)
    found |= socket_ports(ask(["ss", "-Htanp"]).stdout)
    found |= activated_ports(ask(["systemctl", "show", "--property=ActiveState,Listen", *_SOCKETS]).stdout)
    found |= _session_ports()
    return sorted(found)


def configured_ports(stdout: str) -> Set[int]:
    """From `sshd -T`: `port` lines, and `listenaddress` lines that name another."""
    named = re.findall(r"^port (\d+)$", stdout, re.MULTILINE)
    listened = re.findall(r"^listenaddress \S+:(\d+)", stdout, re.MULTILINE)
    return {int(port) for port in named + listened}


def socket_ports(stdout: str) -> Set[int]:
    """From `ss -Htanp`: local ports of listening and open sockets that an SSH server holds."""
    # State Recv-Q Send-Q Local:Port Peer:Port users:(("sshd",pid=88,fd=6))
    lines = (line for line in stdout.splitlines() if _PROGRAMS.search(line))
    return {int(line.split()[3].rpartition(":")[2]) for line in lines}


def activated_ports(stdout: str) -> Set[int]:
    """From `systemctl show` of socket units (a blank line between two): the ports systemd listens on for sshd."""
    active = [unit for unit in stdout.split("\n\n") if "ActiveState=active" in unit.splitlines()]
    return {int(port) for unit in active for port in re.findall(r"(?m)^Listen=\S*?(\d+) \(Stream\)$", unit)}


def _session_ports() -> Set[int]:
    """The server's port of SSH_CONNECTION, here and in every ancestor: sudo takes the variable away."""
    found = set()
    pid = os.getpid()
    while pid > 1:
        port = _environment(pid).get("SSH_CONNECTION", "").rpartition(" ")[2]
        if port.isdigit():
            found.add(int(port))
        pid = _parent(pid)
    return found


def login_began() -> Optional[float]:
    """When the login that this process came by began, in seconds since the boot; None when it came by none."""
    pid = os.getpid()
    while pid > 1:
        name, fields = _status(pid)
        if name in _SESSIONS:
            return int(fields[19]) / os.sysconf("SC_CLK_TCK")
        pid = int(fields[1]) if fields else 0
    return None


def client() -> Optional[str]:
    """The address that the login comes from by which this process came; None when it came by none."""
    pid = os.getpid()
    while pid > 1:
        words = _environment(pid).get("SSH_CONNECTION", "").split()
        if words:
            return words[0].partition("%")[0]
        pid = _parent(pid)
    return None


def _environment(pid: int) -> Dict[str, str]:
    try:
        with open("/proc/{}/environ".format(pid), "rb") as stream:
            pairs = stream.read().decode("utf-8", "replace").split("\0")
    except OSError:
        return {}
    return {name: value for name, _, value in (pair.partition("=") for pair in pairs)}


def _parent(pid: int) -> int:
    fields = _status(pid)[1]
    return int(fields[1]) if fields else 0


def _status(pid: int) -> Tuple[str, List[str]]:
    """A process's short name and the fields behind it, from its state on; ("", []) when it is gone."""
    try:
        with open("/proc/{}/stat".format(pid)) as stream:
            before, _, behind = stream.read().rpartition(")")
    except OSError:
        return "", []
    return before.partition("(")[2], behind.split()
