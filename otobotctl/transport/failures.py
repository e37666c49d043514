"""What ssh's own words mean. OpenSSH's messages are not translated; every pattern stands in one table here."""

from __future__ import annotations

import re
from typing import TYPE_CHECKING

from otobotctl.errors import HostKeyError, HostUnreachableError, OtobotError

if TYPE_CHECKING:
    from collections.abc import Callable

    from otobotctl.transport.target import Target

LINE_FAILED = 255  # ssh's own status; a remote command that ends with it cannot be told apart

_CONSOLE = "ssh-keygen -lf /etc/ssh/ssh_host_ed25519_key.pub"
_FINGERPRINT = re.compile(r"SHA256:[A-Za-z0-9+/]{43}")
_NAMED = re.compile(r"[Hh]ost key (?:is known )?for (\S+)")
_NEVER_OPENED = re.compile(r"mux_client_(?:request_session|hello_exchange)\b.*read from master failed", re.DOTALL)


def _changed(target: Target, said: str) -> OtobotError:
    name = _key_holder(target, said)
    shown = _FINGERPRINT.search(said)
    return HostKeyError(
        f"{name}: the host key has changed",
        hint=f"this may be an attack: on the host's own console run `{_CONSOLE}` and compare; "
        f"only if it is the host's (reinstalled, say): otobotctl host trust {name}",
        details=(f"the host presents {shown.group()}",) if shown else (),
    )


def _unknown(target: Target, said: str) -> OtobotError:
    name = _key_holder(target, said)
    return HostKeyError(f"{name}: the host key is not pinned yet", hint=f"otobotctl host trust {name}")


def _refused_login(target: Target, said: str) -> OtobotError:
    user = f"user {target.user}" if target.user else "the user that ssh chose"
    return _unreachable(
        target,
        said,
        f"{user} may not log in",
        "load a key (`ssh-add`; see `ssh-add -l`), put its public half in the host's ~/.ssh/authorized_keys, "
        f"or correct hosts.{target.name}.user in clients-config.json",
    )


def _unreachable(target: Target, said: str, what: str, hint: str) -> OtobotError:
    last = [line.strip() for line in said.splitlines() if line.strip()][-1:]
    return HostUnreachableError(f"{target}: {what}", hint=hint, details=tuple(last))


def _with(what: str, hint: str) -> Callable[[Target, str], OtobotError]:
    return lambda target, said: _unreachable(target, said, what, hint.format(name=target.name))


_ADDRESS = "check hosts.{name}.address and hosts.{name}.port in clients-config.json, and that the machine is on"

_TABLE: tuple[tuple[str, Callable[[Target, str], OtobotError]], ...] = (
    (r"REMOTE HOST IDENTIFICATION HAS CHANGED|host key for \S+ has changed", _changed),
    (r"host key is known for|host key verification failed", _unknown),
    (r"permission denied|too many authentication failures", _refused_login),
    (
        r"could not resolve|name or service not known|contains invalid characters",
        _with("its name does not resolve", _ADDRESS),
    ),
    (r"forwarding failed", _with("its jump host cannot reach it", _ADDRESS)),
    (r"connection refused", _with("connection refused", _ADDRESS + " and runs sshd")),
    (r"timed out|timeout", _with("no answer", _ADDRESS + "; a firewall may drop the packets")),
    (r"no route to host|network is unreachable", _with("no route to it", _ADDRESS)),
    (
        r"bad configuration option|bad owner or permissions|terminating, \d+ bad",
        _with("ssh refuses its configuration", "correct ~/.ssh/config"),
    ),
    (
        r"unable to negotiate|no matching",
        _with("ssh and the host share no algorithm", "update OpenSSH on the older side"),
    ),
)


def connecting(target: Target, said: str) -> OtobotError:
    """The error for a connection that did not come about, from the words of ssh."""
    for pattern, build in _TABLE:
        if re.search(pattern, said, re.IGNORECASE):
            return build(target, said)
    return failure(target, said)


def failure(target: Target, said: str) -> OtobotError:
    """The error for a line that broke, whatever its last words."""
    return _unreachable(target, said, "the connection was lost", "run the same command again: it goes on from there")


def forward_refused(said: str) -> bool:
    """Whether a jump host was reached and it could not reach the host behind it."""
    return "forwarding failed" in said


def silent(target: Target, seconds: float) -> OtobotError:
    """The error for a line that carries nothing."""
    return HostUnreachableError(
        f"{target}: nothing heard for {seconds:.0f} s, the line is taken for dead",
        hint="run the same command again: it goes on from there",
    )


def never_opened(said: str) -> bool:
    """Whether the shared connection died before it passed the command on, so that the command cannot have started."""
    return bool(_NEVER_OPENED.search(said))


def _key_holder(target: Target, said: str) -> str:
    """Whose key ssh speaks of: the host itself or one it is reached through."""
    found = _NAMED.search(said)
    names = []
    hop: Target | None = target
    while hop is not None:
        names.append(hop.name)
        hop = hop.jump
    return found.group(1) if found and found.group(1) in names else target.name
