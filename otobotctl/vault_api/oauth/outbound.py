"""The only way out: one HTTP request to a public host, with its address pinned and its time and size capped."""

from __future__ import annotations

import asyncio
import re
import socket
import ssl
from collections.abc import Mapping
from dataclasses import dataclass, field
from enum import Enum
from typing import Any, Final
from urllib.parse import urlsplit

import httpx

from .addresses import public

CONNECT_S: Final = 5.0
TOTAL_S: Final = 30.0
MOST_BYTES: Final = 256 * 1024
AGENT: Final = "otobot-vault-api"
_LABEL = "[a-z0-9_]([a-z0-9_-]{0,61}[a-z0-9_])?"
_HOST = re.compile(rf"({_LABEL}\.)*{_LABEL}|[0-9a-f.]*:[0-9a-f:.]+", re.ASCII)
_SHOWN = frozenset({"content-type", "retry-after"})


class Fault(Enum):
    """Why there is no answer."""

    REFUSED = "refused"  # by this module: not https, not a public address, or not to be sent
    UNRESOLVED = "unresolved"
    UNREACHABLE = "unreachable"
    UNTRUSTED = "untrusted"  # TLS: not who the name says
    TIMEOUT = "timeout"
    TOO_LARGE = "too_large"
    BROKEN = "broken"  # the connection, or HTTP itself

    @property
    def unsent(self) -> bool:
        """Whether the other side cannot have seen the request."""
        return self in {Fault.REFUSED, Fault.UNRESOLVED, Fault.UNREACHABLE, Fault.UNTRUSTED}


class OutboundError(Exception):
    """There is no answer; its text is the fault and nothing else."""

    def __init__(self, fault: Fault) -> None:
        super().__init__(fault.value)
        self.fault = fault


@dataclass(frozen=True)
class Request:
    """What to send; its repr shows neither headers nor body."""

    method: str
    url: str = field(repr=False)
    headers: Mapping[str, str] = field(default_factory=dict, repr=False)
    body: bytes = field(default=b"", repr=False)


@dataclass(frozen=True)
class Response:
    """A whole answer, of whatever status."""

    status: int
    headers: Mapping[str, str]
    body: bytes = field(repr=False)


class Outbound:
    """Sends requests. `allow` are `host:port` entries that may be private and plain HTTP: inner services, and tests."""

    def __init__(self, allow: frozenset[str] = frozenset(), *, tls: ssl.SSLContext | None = None) -> None:
        self._allow = allow
        # No reuse: two names behind one address would share a connection that was verified for one of them.
        limits = httpx.Limits(max_connections=64, max_keepalive_connections=0)
        self._client = httpx.AsyncClient(
            verify=tls if tls is not None else True,
            trust_env=False,  # no proxy, no .netrc
            follow_redirects=False,
            limits=limits,
            timeout=httpx.Timeout(TOTAL_S, connect=CONNECT_S),
        )

    async def close(self) -> None:
        """Close what is open."""
        await self._client.aclose()

    async def send(self, request: Request, *, total_s: float = TOTAL_S, most_bytes: int = MOST_BYTES) -> Response:
        """Send one request and read its whole answer.

        Raises:
            OutboundError: there is no answer; `fault.unsent` says whether the other side may have acted.
        """
        host, port, secure = target(request.url, self._allow)
        try:
            async with asyncio.timeout(total_s):
                address = await self._resolve(host, port)
                return await self._exchange(request, host, port, address, secure, most_bytes)
        except TimeoutError:
            raise OutboundError(Fault.TIMEOUT) from None

    async def _resolve(self, host: str, port: int) -> str:
        """The one address that is used. Every address of the name must be allowed: a mixed answer is a trap."""
        try:
            async with asyncio.timeout(CONNECT_S):
                found = await asyncio.get_running_loop().getaddrinfo(host, port, type=socket.SOCK_STREAM)
        except TimeoutError:
            raise OutboundError(Fault.UNRESOLVED) from None
        except (OSError, UnicodeError):
            raise OutboundError(Fault.UNRESOLVED) from None
        addresses = [str(entry[4][0]) for entry in found]
        if not addresses:
            raise OutboundError(Fault.UNRESOLVED)
        if f"{host}:{port}" not in self._allow and not all(public(address) for address in addresses):
            raise OutboundError(Fault.REFUSED)
        return addresses[0]

    async def _exchange(
        self, request: Request, host: str, port: int, address: str, secure: bool, most_bytes: int
    ) -> Response:
        parts = urlsplit(request.url)
        pinned = httpx.URL(
            scheme="https" if secure else "http", host=address, port=port,
            raw_path=((parts.path or "/") + (f"?{parts.query}" if parts.query else "")).encode("ascii"),
        )  # fmt: skip
        usual = 443 if secure else 80
        named = f"[{host}]" if ":" in host else host
        headers = {
            "accept": "application/json",
            "user-agent": AGENT,
            **{name.lower(): value for name, value in request.headers.items()},
            "accept-encoding": "identity",  # a small answer must not unpack into a large one
            "host": named if port == usual else f"{named}:{port}",
        }
        # TLS speaks to, and verifies, the name; only the connection goes to the address.
        extensions: dict[str, Any] = {"sni_hostname": host} if secure else {}
        try:
            built = self._client.build_request(
                request.method, pinned, headers=headers, content=request.body, extensions=extensions
            )
            answer = await self._client.send(built, stream=True)
        except UnicodeError:  # an application's secret that is no text for a header
            raise OutboundError(Fault.REFUSED) from None
        except httpx.HTTPError as error:
            raise OutboundError(_fault(error)) from None
        try:
            return await _read(answer, most_bytes)
        except httpx.HTTPError as error:
            raise OutboundError(_fault(error)) from None
        finally:
            await answer.aclose()


async def _read(answer: httpx.Response, most_bytes: int) -> Response:
    if answer.headers.get("content-encoding", "identity").lower() not in {"", "identity"}:
        raise OutboundError(Fault.BROKEN)
    body = bytearray()
    async for part in answer.aiter_raw():
        body += part
        if len(body) > most_bytes:
            raise OutboundError(Fault.TOO_LARGE)
    headers = {name.lower(): value for name, value in answer.headers.items() if name.lower() in _SHOWN}
    return Response(answer.status_code, headers, bytes(body))


def target(url: str, allow: frozenset[str] = frozenset()) -> tuple[str, int, bool]:
    """The host, port and whether TLS is spoken, of an address that may be called. Raises OutboundError: refused."""
    if not url.isascii() or any(ord(char) <= 32 or char in '\\"<>^`{|}\x7f' for char in url):  # noqa: PLR2004
        raise OutboundError(Fault.REFUSED)
    try:
        parts = urlsplit(url)
        port = parts.port
    except ValueError:
        raise OutboundError(Fault.REFUSED) from None
    host = (parts.hostname or "").rstrip(".")
    if parts.username is not None or parts.password is not None or not _HOST.fullmatch(host):
        raise OutboundError(Fault.REFUSED)
    if parts.scheme == "https":
        # Another port than TLS's own reaches services that were not meant, on hosts that were.
        if port not in {None, 443} and f"{host}:{port}" not in allow:
            raise OutboundError(Fault.REFUSED)
        return host, port or 443, True
    if parts.scheme == "http" and f"{host}:{port or 80}" in allow:
        return host, port or 80, False
    raise OutboundError(Fault.REFUSED)


def _fault(error: httpx.HTTPError) -> Fault:
    if isinstance(error, httpx.ConnectError):
        return Fault.UNTRUSTED if _is_tls(error) else Fault.UNREACHABLE
    if isinstance(error, httpx.ConnectTimeout | httpx.PoolTimeout):
        return Fault.UNREACHABLE
    return Fault.TIMEOUT if isinstance(error, httpx.TimeoutException) else Fault.BROKEN


def _is_tls(error: BaseException | None) -> bool:
    while error is not None:
        if isinstance(error, ssl.SSLError):
            return True
        error = error.__cause__ or error.__context__
    return False
