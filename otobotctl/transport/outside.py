"""A host as anybody on the network sees it: names, ports, TLS. No login is made."""

from __future__ import annotations

import ipaddress
import socket
from collections.abc import Iterable, Sequence
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    import ssl

_TIMEOUT_S = 3.0
_AT_ONCE = 32


@dataclass(frozen=True)
class Shown:
    """How TLS went: `error` where it did not come about; `distrust` is why this machine does not believe it, or ""."""

    error: str = ""
    distrust: str = ""


def resolve(names: Sequence[str]) -> dict[str, tuple[str, ...] | None]:
    """The addresses of each name, IPv4 first; none: there is no such name; None: nobody could tell."""
    with ThreadPoolExecutor(_AT_ONCE) as pool:
        return dict(zip(names, pool.map(_addresses, names), strict=True))


def ports(wanted: Iterable[tuple[str, int]], timeout_s: float = _TIMEOUT_S) -> dict[tuple[str, int], bool]:
    """Whether each (address, port) takes a connection. One that this machine has no way to at all is left out."""
    asked = list(dict.fromkeys(wanted))
    with ThreadPoolExecutor(_AT_ONCE) as pool:
        found = pool.map(lambda each: _answers(each[0], each[1], timeout_s), asked)
        return {each: answer for each, answer in zip(asked, found, strict=True) if answer is not None}


def near(address: str) -> bool:
    """Whether this machine may be expected to reach an address: one for all to use, or a private one beside its own.

    Nothing is sent: the kernel says which of its own addresses it would come from.
    """
    wanted = ipaddress.ip_address(address)
    if wanted.is_global:
        return True
    family = socket.AF_INET6 if ":" in address else socket.AF_INET
    try:
        with socket.socket(family, socket.SOCK_DGRAM) as line:
            line.connect((address, 9))
            return not ipaddress.ip_address(line.getsockname()[0].partition("%")[0]).is_global
    except OSError:
        return False


def handshake(name: str, address: str, timeout_s: float = _TIMEOUT_S) -> Shown:
    """Begin TLS as a visitor of `name`, at this address whatever DNS says."""
    import ssl

    trusting = ssl.create_default_context()
    try:
        _greet(trusting, name, address, timeout_s)
    except ssl.SSLCertVerificationError as error:
        unbelieved = error.verify_message or "it cannot be verified"
    except OSError as error:  # ssl.SSLError is one
        return Shown(error=_words(error))
    else:
        return Shown()
    careless = ssl.create_default_context()
    careless.check_hostname = False
    careless.verify_mode = ssl.CERT_NONE
    try:
        _greet(careless, name, address, timeout_s)
    except OSError as error:
        return Shown(error=_words(error))
    return Shown(distrust=unbelieved)


def _greet(context: ssl.SSLContext, name: str, address: str, timeout_s: float) -> None:
    with (
        socket.create_connection((address, 443), timeout_s) as raw,
        context.wrap_socket(raw, server_hostname=name),
    ):
        pass


def _addresses(name: str) -> tuple[str, ...] | None:
    try:
        found = socket.getaddrinfo(name, None, type=socket.SOCK_STREAM)
    except socket.gaierror as error:
        gone = {socket.EAI_NONAME, getattr(socket, "EAI_NODATA", socket.EAI_NONAME)}
        return () if error.errno in gone else None
    except (OSError, UnicodeError):
        return None
    addresses = dict.fromkeys(str(each[4][0]) for each in found)
    return tuple(sorted(addresses, key=lambda each: (":" in each, each)))


def _answers(address: str, port: int, timeout_s: float) -> bool | None:
    import errno

    try:
        socket.create_connection((address, port), timeout_s).close()
    except OSError as error:
        # Without a route of this family nothing is said about the host.
        return None if error.errno in {errno.ENETUNREACH, errno.EAFNOSUPPORT, errno.EADDRNOTAVAIL} else False
    return True


def _words(error: OSError) -> str:
    return str(getattr(error, "reason", None) or error.strerror or error)
