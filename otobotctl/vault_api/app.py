"""The routes. The one that n8n calls all day is plain ASGI in front of the others, which are Starlette's."""

from __future__ import annotations

import logging
import re
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from typing import Any

import psycopg
from starlette.applications import Starlette
from starlette.exceptions import HTTPException
from starlette.requests import Request
from starlette.responses import JSONResponse
from starlette.routing import Route

from . import contract, inputs, logs
from .guard import App, Gate, Guard, Receive, Scope, Send, TooLargeError, answer, failure
from .schema import migrations
from .store import Asked, Found, Store, TakenError, UnknownServiceError, UnknownUserError, UnreadableError

_HOT = re.compile(r"/api/internal/user/([^/]+)/credentials/([^/]+)")


def build(store: Store, tokens: tuple[str, ...]) -> App:
    """The whole ASGI application."""
    return Guard(_Dispatch(store), Gate(tokens))


class _Dispatch:
    """Sends a credential read straight to the store, everything else to Starlette."""

    def __init__(self, store: Store) -> None:
        self._store = store
        self._rest = _starlette(store)

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        if scope["type"] == "http" and scope["method"] == "GET":
            match = _HOT.fullmatch(scope["path"])
            if match:
                scope["route_name"] = "read"
                await answer(send, *await self._read(match[1], match[2], scope))
                return
        await self._rest(scope, receive, send)

    async def _read(self, user: str, service: str, scope: Scope) -> tuple[int, Any]:
        try:
            asked = Asked(inputs.user_id(user), inputs.service_code(service), scope["request_id"])
            found = await self._store.read(asked)
        except inputs.InputError as error:
            return 400, {"error": "Invalid request", "details": list(error.findings), "hasCredentials": False}
        except UnreadableError:
            logs.event("credential_unreadable", logging.ERROR, request=scope["request_id"])
            return 500, {"error": "The stored credential does not open", "hasCredentials": False}
        if found is None:
            return 404, {"error": contract.NOT_FOUND, "hasCredentials": False}
        return 200, shown(found)


def shown(found: Found) -> contract.Connection:
    """A connection as n8n gets it."""
    credentials: contract.Credentials = {}
    if found.access_token.value is not None:
        credentials["accessToken"] = found.access_token.value
    if found.api_key.value is not None:
        credentials["apiKey"] = found.api_key.value
    return {
        "connectionId": str(found.id),
        "hasCredentials": bool(credentials),
        "credentials": credentials,
        "metadata": {
            "accountIdentifier": found.account,
            "tokenExpired": found.expired,
            "expiresAt": found.expires_at.isoformat() if found.expires_at else None,
        },
    }


def _starlette(store: Store) -> Starlette:
    async def health(request: Request) -> JSONResponse:
        request.scope["route_name"] = "health"
        checks = await _checks(store)
        healthy = set(checks.values()) == {"ok"}
        body: contract.Health = {
            "status": "ok" if healthy else "unavailable",
            "service": contract.SERVICE,
            "version": contract.VERSION,
            "checks": checks,
        }
        if not healthy:
            logs.event("unhealthy", logging.WARNING, checks=checks)
        return JSONResponse(body, 200 if healthy else 503)

    async def put_user(request: Request) -> JSONResponse:
        request.scope["route_name"] = "user"
        user = inputs.user_id(request.path_params["user"])
        created = await store.save_user(user, *inputs.user(await request.body()))
        return JSONResponse({"userId": str(user), "created": created}, 201 if created else 200)

    async def save(request: Request) -> JSONResponse:
        request.scope["route_name"] = "store"
        path = request.path_params
        asked = Asked(inputs.user_id(path["user"]), inputs.service_code(path["service"]), request.scope["request_id"])
        row, created = await store.save(asked, inputs.connection(await request.body()), replace=request.method == "PUT")
        body: contract.Stored = {"connectionId": str(row), "created": created}
        return JSONResponse(body, 201 if created else 200)

    @asynccontextmanager
    async def lifespan(_app: Starlette) -> AsyncIterator[None]:
        await store.open()
        try:
            yield
        finally:
            await store.close()

    routes = [
        Route(contract.HEALTH_PATH, health, methods=["GET"]),
        Route(contract.USER_PATH, put_user, methods=["PUT"]),
        Route(contract.CREDENTIALS_PATH, save, methods=["PUT", "POST"]),
    ]
    return Starlette(routes=routes, lifespan=lifespan, exception_handlers=_HANDLERS)


async def _checks(store: Store) -> dict[str, str]:
    try:
        there = await store.migrations()
        await store.client_id()
    except psycopg.Error:
        return {"database": "unreachable", "migrations": "unknown"}
    except LookupError:
        return {"database": "ok", "migrations": "missing"}
    missing = {migration.version for migration in migrations()} - there
    return {"database": "ok", "migrations": "missing" if missing else "ok"}


def _refuses(status: int, text: str) -> Any:
    async def handler(_request: Request, error: Exception) -> JSONResponse:
        body: contract.Failure = {"error": text}
        if isinstance(error, inputs.InputError):
            body["details"] = list(error.findings)
        return JSONResponse(body, status)

    return handler


async def _unexpected(request: Request, error: Exception) -> JSONResponse:
    logs.event("request_failed", logging.ERROR, request=request.scope["request_id"], **logs.describe(error))
    status, body = failure(error)
    return JSONResponse(body, status)


async def _http(_request: Request, error: Exception) -> JSONResponse:
    status = error.status_code if isinstance(error, HTTPException) else 500
    return JSONResponse({"error": {404: "Not found", 405: "Method not allowed"}.get(status, "Invalid request")}, status)


_HANDLERS: dict[Any, Any] = {
    HTTPException: _http,
    TooLargeError: _unexpected,
    LookupError: _unexpected,
    psycopg.Error: _unexpected,
    inputs.InputError: _refuses(400, "Invalid request"),
    UnknownUserError: _refuses(404, "User not found"),
    UnknownServiceError: _refuses(404, "Service not found"),
    TakenError: _refuses(409, "Already exists"),
}
