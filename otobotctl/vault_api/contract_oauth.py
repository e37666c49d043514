"""What the vault API and its callers agree on about connecting accounts and refreshing their tokens."""

from __future__ import annotations

from typing import Annotated

from msgspec import Meta, Struct, field

from .contract import END, Body, Id, Reply, Word

CONNECT_PATH = "/api/oauth/connect/{service}"
START_PATH = "/api/oauth/connect/{service}/start"
CALLBACK_PATH = "/api/oauth/callback/{service}"
APPS_PATH = "/api/oauth/apps"
REFRESH_PATH = "/api/internal/refresh-tokens"

Address = Annotated[str, Meta(min_length=1, max_length=2048)]
Token = Annotated[str, Meta(min_length=1, max_length=64, pattern=f"^[A-Za-z0-9_-]+{END}")]


class NewConnect(Body, frozen=True, kw_only=True):
    """Whom to connect, and where the browser goes afterwards. A user connects himself and may leave `user_id` out.

    `parameters` are what the service needs to be found, such as a shop's name.
    """

    return_url: Address
    user_id: Id | None = None
    parameters: dict[Word, Word] = field(default_factory=dict)


class ConnectQuery(Body, frozen=True, kw_only=True):
    """The same in a query; `parameters` are encoded like a query themselves: `shop=acme`."""

    return_url: Address
    user_id: Id | None = None
    parameters: Annotated[str, Meta(max_length=1024)] = ""


class Connect(Reply, frozen=True, kw_only=True):
    """An address to open in the user's browser: good once, for so many seconds."""

    url: str
    expires_in: int


class StartQuery(Body, frozen=True, kw_only=True):
    """What the address of a `Connect` carries."""

    ticket: Token


class CallbackQuery(Struct, frozen=True, kw_only=True):
    """What a provider's redirect brings; what else it brings is not looked at, except under a signature."""

    state: Annotated[str, Meta(max_length=256)] = ""
    code: Annotated[str, Meta(max_length=4096)] = ""
    error: Annotated[str, Meta(max_length=256)] = ""
    iss: Annotated[str, Meta(max_length=512)] = ""


class App(Struct, frozen=True, kw_only=True):
    """An application that users can connect through; never its credentials."""

    id: str
    service_name: str
    display_name: str
    app_name: str
    scopes: list[str]
    is_global: bool
    is_active: bool


class Apps(Reply, frozen=True, kw_only=True):
    """GET /api/oauth/apps."""

    apps: list[App]


class RefreshQuery(Body, frozen=True, kw_only=True):
    """Nothing: what is due. A connection: that one, due or not, even where refreshing had stopped."""

    connection_id: Id | None = None


class Refreshed(Struct, frozen=True, kw_only=True):
    """What came of one refresh; `outcome` is a word such as refreshed, failed, broken, stopped, busy or current."""

    id: str
    outcome: str
    reason: str


class Refreshes(Reply, frozen=True, kw_only=True):
    """POST /api/internal/refresh-tokens. `pending` go on after the answer."""

    processed: int
    results: list[Refreshed]
    pending: int
