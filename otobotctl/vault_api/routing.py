"""Endpoints to an ASGI application: decode, admit, limit, call, answer."""

from __future__ import annotations

import re
from collections.abc import Iterable, Mapping
from http import HTTPStatus
from typing import TYPE_CHECKING, Any, Final

import msgspec
import psycopg
from starlette.applications import Starlette
from starlette.exceptions import HTTPException
from starlette.requests import ClientDisconnect, Request
from starlette.responses import Response
from starlette.routing import Route

from . import inputs, logs
from .actor import ANONYMOUS
from .admission import admit
from .endpoint import Answer, Call, Endpoint
from .errors import Problem, invalid, missing, unavailable, unexpected

if TYPE_CHECKING:
    from .vault import Vault

_ENCODER: Final = msgspec.json.Encoder()
_NAME: Final = re.compile(r"\{([a-z_]+)\}")


def application(vault: Vault, endpoints: Iterable[Endpoint]) -> Starlette:
    """The Starlette application of every endpoint; paths that no endpoint has are answered 404 in our shape."""
    by_path: dict[str, dict[str, Endpoint]] = {}
    for endpoint in endpoints:
        by_path.setdefault(endpoint.path, {})[endpoint.method] = endpoint
    routes = [Route(path, _Dispatch(vault, methods), methods=None, name=path) for path, methods in by_path.items()]
    return Starlette(routes=routes, exception_handlers={HTTPException: _unknown})


class _Dispatch:
    """The methods of one path, as an ASGI application, so that Starlette passes every method on."""

    def __init__(self, vault: Vault, methods: Mapping[str, Endpoint]) -> None:
        self._vault = vault
        self._methods = methods

    async def __call__(self, scope: Any, receive: Any, send: Any) -> None:
        request = Request(scope, receive)
        endpoint = self._methods.get("GET" if request.method == "HEAD" else request.method)
        if endpoint is None:
            headers = {"allow": ", ".join(sorted(self._methods))}
            response = problem_response(Problem(405, "method_not_allowed", "Method not allowed", headers=headers))
        else:
            scope["route_name"] = endpoint.name
            response = await respond(self._vault, endpoint, request)
        await response(scope, receive, send)


async def respond(vault: Vault, endpoint: Endpoint, request: Request) -> Response:
    """Answer one request; whatever goes wrong becomes an answer in our shape."""
    try:
        answer = await _answer(vault, endpoint, request)
    except Exception as error:  # noqa: BLE001 - a defect is answered in our shape too, without a word of it
        problem = refusal(error, request.scope["request_id"])
        if problem.status == HTTPStatus.TOO_MANY_REQUESTS:
            scope = request.scope
            who = scope.get("actor", ANONYMOUS)
            await vault.refusals.note(endpoint.name, who, scope["request_id"], scope["caller_address"])
        return problem_response(problem)
    content = (
        answer.body if isinstance(answer.body, bytes) else b"" if answer.body is None else _ENCODER.encode(answer.body)
    )
    response = Response(content, answer.status, media_type=answer.content_type if content else None)
    for name, value in answer.headers:
        response.headers.append(name, value)
    return response


def refusal(error: Exception, request: object) -> Problem:
    """What is answered for whatever went wrong; what was no refusal of ours is logged."""
    if isinstance(error, Problem):
        return error
    if isinstance(error, ClientDisconnect):  # nobody hears it, and nothing is wrong with us
        return invalid("the body did not come whole")
    logs.failed(error, request)
    # The pool's own errors are OperationalErrors; a LookupError: migrations have not run.
    away = isinstance(error, psycopg.OperationalError | LookupError | TimeoutError)
    return unavailable() if away else unexpected()


async def _answer(vault: Vault, endpoint: Endpoint, request: Request) -> Answer:
    # Who asks is settled first: a stranger learns nothing of what is valid.
    actor = await admit(vault, endpoint, request)
    call = Call(
        vault=vault,
        actor=actor,
        request=request.scope["request_id"],
        address=request.scope["caller_address"],
        path=_path(endpoint, request.path_params),
        query=inputs.query(request.query_params.multi_items(), endpoint.query) if endpoint.query else None,
        body=inputs.body(await request.body(), endpoint.body) if endpoint.body else None,
        cookies=request.cookies,
        user_agent=request.headers.get("user-agent", "")[:200],
        authorization=request.headers.get("authorization", ""),
        raw_query=request.url.query,
    )
    found = await endpoint.handler(call)
    return found if isinstance(found, Answer) else Answer(endpoint.status, found)


def _path(endpoint: Endpoint, given: Mapping[str, str]) -> dict[str, Any]:
    names = _NAME.findall(endpoint.path)
    return {
        name: inputs.service_code(given[name]) if name == "service" else inputs.identity(given[name], name)
        for name in names
    }


def problem_response(problem: Problem) -> Response:
    """A refusal as an answer."""
    body = _ENCODER.encode(problem.body())
    return Response(body, problem.status, headers=problem.headers, media_type="application/json")


async def _unknown(_request: Request, error: Exception) -> Response:
    assert isinstance(error, HTTPException)  # noqa: S101 - registered for nothing else
    if error.status_code == 404:  # noqa: PLR2004
        return problem_response(missing("path"))
    return problem_response(Problem(error.status_code, "invalid_request", "Invalid request"))
