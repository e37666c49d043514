"""Who asks: the one thing that access, audit and routes agree on."""

from __future__ import annotations

from dataclasses import dataclass
from enum import Enum
from typing import Literal
from uuid import UUID

Kind = Literal["anonymous", "internal", "operator", "user", "key", "system"]


class Access(Enum):
    """Who may call an endpoint."""

    PUBLIC = "public"
    INTERNAL = "internal"  # n8n, by its token
    READER = "reader"  # n8n's node by a token of its own; n8n by its token, where the client allows it
    OPERATOR = "operator"  # whoever can read the container's environment: root on the host
    USER = "user"  # a person of the client, logged in
    CALLER = "caller"  # any of the three above: the handler looks at who it is
    ADMIN = "admin"  # an administrator of the client, an operator, or an API key with the endpoint's scope


@dataclass(frozen=True)
class Actor:
    """Who asks. `id` names the person, key or program in the audit; it is never a secret."""

    kind: Kind
    id: str = ""
    user: UUID | None = None
    role: str = ""
    permissions: frozenset[str] = frozenset()
    scopes: frozenset[str] = frozenset()
    session: UUID | None = None

    @property
    def label(self) -> str:
        """What the audit calls it, such as `user:6f1c...` or `internal`."""
        return f"{self.kind}:{self.id}" if self.id else self.kind


ANONYMOUS = Actor("anonymous")
INTERNAL = Actor("internal", "n8n")
NODE = Actor("internal", "node")
SYSTEM = Actor("system")
