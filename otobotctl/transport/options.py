"""The argv of the system's ssh: pinned host keys, no prompts, no forwarding. Pure.

The operator's own configuration (keys, agents, aliases, proxies) stays in force except where it is named here: ssh
takes the first value that it meets, and the command line comes first.
"""

from __future__ import annotations

import shlex
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from pathlib import Path

    from otobotctl.transport.target import Settings, Target


def options(target: Target, settings: Settings, control: Path | None) -> tuple[str, ...]:
    """Everything between `ssh` and the destination. `control`: the shared connection's socket, None for no sharing."""
    pairs = {
        "BatchMode": "yes",
        "StrictHostKeyChecking": "yes",
        "UserKnownHostsFile": quoted(target.known_hosts.absolute()),
        "GlobalKnownHostsFile": "none",
        "HostKeyAlias": target.name,
        "VerifyHostKeyDNS": "no",
        "UpdateHostKeys": "no",  # the pins are the operator's to change; it also saves a round trip
        "ConnectTimeout": str(settings.connect_timeout_s),
        "ServerAliveInterval": str(settings.alive_interval_s),
        "ServerAliveCountMax": str(settings.alive_count),
        "ForwardAgent": "no",
        "ForwardX11": "no",
        "ClearAllForwardings": "yes",
        "PermitLocalCommand": "no",
        "RemoteCommand": "none",
        "LogLevel": "ERROR",  # banners would end up in a step's stderr; QUIET would hide why a login failed
    }
    if control is None:
        pairs |= {"ControlMaster": "no", "ControlPath": "none"}
    else:
        # Sharing that ends with its Door still persists a while: a Door that was killed leaves nothing for ever.
        persist = settings.persist_s or 60
        pairs |= {"ControlMaster": "auto", "ControlPath": quoted(control), "ControlPersist": str(persist)}
    if target.jump is not None:
        pairs["ProxyCommand"] = proxy_command(target.jump, settings)
    return _arguments(target, settings, pairs)


def destination(target: Target) -> tuple[str, ...]:
    """The end of the argv: no address can be taken for an option."""
    return ("--", target.address.strip("[]"))


def proxy_command(jump: Target, settings: Settings) -> str:
    """How ssh reaches a host behind `jump`, with the same pins: `ssh -J` would pass none of the options on."""
    # ssh expands % once before the shell sees the line; only the destination's own tokens are meant.
    command = shlex.join(proxy_argv(jump, settings, forward="\0"))
    return command.replace("%", "%%").replace("\0", "[%h]:%p")


def proxy_argv(jump: Target, settings: Settings, forward: str) -> tuple[str, ...]:
    """The argv that connects stdin and stdout with `forward` ("host:port") as `jump` sees it."""
    return ("ssh", *options(jump, settings, control=None), "-W", forward, *destination(jump))


def forward(target: Target) -> str:
    """`target` as -W reads it."""
    return f"[{target.address.strip('[]')}]:{target.port or 22}"


def quoted(path: Path) -> str:
    """A path as ssh's configuration reads it: spaces kept, % and $ literal where ssh lets them be."""
    return '"' + str(path).replace("%", "%%").replace('"', '\\"') + '"'


def _arguments(target: Target, settings: Settings, pairs: dict[str, str]) -> tuple[str, ...]:
    arguments = ["-T"]
    if settings.config is not None:
        arguments += ["-F", str(settings.config.absolute())]
    if target.port is not None:
        arguments += ["-p", str(target.port)]
    if target.user is not None:
        arguments += ["-l", target.user]
    if target.identity is not None:
        arguments += ["-i", str(target.identity)]
        pairs["IdentitiesOnly"] = "yes"  # an agent with many keys would use up the host's tries first
    for name, value in pairs.items():
        arguments += ["-o", f"{name}={value}"]
    return tuple(arguments)
