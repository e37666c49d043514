"""An endpoint is data: routing, access, limits, decoding and the OpenAPI document all come from the same entry."""

from __future__ import annotations

from collections.abc import Awaitable, Callable, Mapping
from dataclasses import dataclass, field
from typing import TYPE_CHECKING, Any, Literal
from uuid import UUID

import msgspec

from .actor import Access, Actor

if TYPE_CHECKING:
    from .vault import Vault

Method = Literal["GET", "POST", "PUT", "PATCH", "DELETE"]
# `public`: by address, or by whoever is logged in. `internal`: by the internal token.
Limit = Literal["none", "public", "internal"]


@dataclass(frozen=True)
class Answer:
    """An answer with a status or headers of its own. `body`: a Struct, None, or bytes of `content_type`."""

    status: int = 200
    body: Any = None
    headers: tuple[tuple[str, str], ...] = ()
    content_type: str = "application/json"


def redirect(url: str, *headers: tuple[str, str]) -> Answer:
    """302 to an address that the caller has checked."""
    return Answer(302, None, (("location", url), *headers))


@dataclass(frozen=True)
class Call:
    """One request, checked: who asks, and what. Path parameters that the endpoint calls ids are UUIDs.

    `raw_query` is for signatures that cover the query as it was sent; it may hold a code: never log it.
    """

    vault: Vault
    actor: Actor
    request: UUID
    address: str
    path: Mapping[str, Any]
    body: Any
    query: Any
    cookies: Mapping[str, str]
    user_agent: str
    authorization: str
    raw_query: str = field(default="", repr=False)

    def id(self, name: str) -> UUID:
        """A path parameter that is a UUID."""
        found = self.path[name]
        assert isinstance(found, UUID)  # noqa: S101 - routing has parsed it
        return found

    def text(self, name: str) -> str:
        """A path parameter that is a word."""
        return str(self.path[name])


Handler = Callable[[Call], Awaitable[Any]]


@dataclass(frozen=True)
class Endpoint:
    """A method on a path. A handler returns a Struct of the type `answer`, or an `Answer`.

    Attributes:
        path: with `{names}`; `service` is a service's code, every other one an id.
        name: what logs, metrics and the document call it.
        access: who may call it; `scope` is what an API key needs to call it as well.
        body, query: Struct types that decode what is sent; None: nothing is read.
        statuses: every status besides `status` that it may answer, with 400, 401, 413, 429, 500 and 503 understood.
    """

    method: Method
    path: str
    name: str
    handler: Handler
    access: Access
    summary: str
    answer: type[msgspec.Struct] | None
    status: int = 200
    body: type[msgspec.Struct] | None = None
    query: type[msgspec.Struct] | None = None
    statuses: Mapping[int, type[msgspec.Struct] | None] = field(default_factory=dict)
    scope: str = ""
    limit: Limit = "public"
    tag: str = ""
