"""Who may pass an endpoint: by its access, then by its limit. A refusal does not say what was wrong."""

from __future__ import annotations

import hmac
from collections.abc import Awaitable, Callable, Iterable
from hashlib import sha256
from typing import TYPE_CHECKING, Final

from . import contract
from .access.identity import administrator, person, program
from .actor import ANONYMOUS, INTERNAL, NODE, Access, Actor
from .errors import unauthorized

if TYPE_CHECKING:
    from starlette.requests import Request

    from .configuration import Hidden
    from .endpoint import Endpoint
    from .vault import Vault

Authenticator = Callable[["Vault", "Endpoint", "Request"], Awaitable[Actor | None]]


class Gate:
    """Knows the digests of the valid tokens, and takes the same time for every answer."""

    def __init__(self, tokens: Iterable[Hidden]) -> None:
        self._digests = tuple(sha256(token.reveal().encode()).digest() for token in tokens)

    def admits(self, presented: bytes) -> bool:
        """Whether this token is one of the valid ones."""
        digest = sha256(presented).digest()
        # Every digest is compared, so that the time does not tell which one matched.
        return any([hmac.compare_digest(digest, valid) for valid in self._digests])  # noqa: C419


async def _anonymous(_vault: Vault, _endpoint: Endpoint, _request: Request) -> Actor:
    return ANONYMOUS


async def _internal(vault: Vault, _endpoint: Endpoint, request: Request) -> Actor | None:
    presented = request.headers.get(contract.TOKEN_HEADER, "").encode("latin-1")
    return INTERNAL if vault.gate.admits(presented) else None


def reader(vault: Vault, node: bytes, internal: bytes) -> Actor | None:
    """Who reads credentials by what was presented: n8n's node, which keeps them to itself, or whatever runs in n8n."""
    if node and vault.node_gate.admits(node):
        return NODE
    return INTERNAL if vault.gate.admits(internal) else None


async def _reader(vault: Vault, _endpoint: Endpoint, request: Request) -> Actor | None:
    node, internal = (request.headers.get(name, "") for name in (contract.NODE_HEADER, contract.TOKEN_HEADER))
    return reader(vault, node.encode("latin-1"), internal.encode("latin-1"))


async def operator(vault: Vault, _endpoint: Endpoint, request: Request) -> Actor | None:
    """The operator, who names himself in a header for the audit."""
    presented = request.headers.get(contract.OPERATOR_HEADER, "").encode("latin-1")
    if not vault.operator_gate.admits(presented):
        return None
    name = request.headers.get(contract.OPERATOR_NAME_HEADER, "")
    return Actor("operator", "".join(c for c in name if c.isalnum() or c in "-_.@")[:64])


# In order; the first that knows the caller decides.
AUTHENTICATORS: Final[dict[Access, tuple[Authenticator, ...]]] = {
    Access.PUBLIC: (_anonymous,),
    Access.INTERNAL: (_internal,),
    Access.READER: (_reader,),
    Access.OPERATOR: (operator,),
    Access.USER: (person,),
    Access.ADMIN: (operator, program, administrator),
}


def _authenticators(access: Access) -> tuple[Authenticator, ...]:
    if access is Access.CALLER:
        known = (Access.INTERNAL, Access.OPERATOR, Access.USER)
        return tuple(each for one in known for each in AUTHENTICATORS[one])
    return AUTHENTICATORS[access]


async def admit(vault: Vault, endpoint: Endpoint, request: Request) -> Actor:
    """Return who asks. Raises Problem: 401 for a stranger, 429 for one who asks too often."""
    for authenticate in _authenticators(endpoint.access):
        actor = await authenticate(vault, endpoint, request)
        if actor is not None:
            request.scope["actor"] = actor
            await vault.limits.count(endpoint, actor, request.scope["caller_address"])
            return actor
    # Guessing is limited by the address it comes from.
    await vault.limits.guess(request.scope["caller_address"])
    raise unauthorized()
