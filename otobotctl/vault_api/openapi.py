"""The OpenAPI document, made from the endpoints themselves: what it says is what routing does."""

from __future__ import annotations

import re
from collections.abc import Iterable
from typing import Any, Final

import msgspec

from . import contract
from .actor import Access
from .endpoint import Endpoint

_REF: Final = "#/components/schemas/{name}"
_NAME: Final = re.compile(r"\{([a-z_]+)\}")
_SECURITY: Final[dict[Access, list[dict[str, list[str]]]]] = {
    Access.INTERNAL: [{"internalToken": []}],
    Access.READER: [{"nodeToken": []}, {"internalToken": []}],
    Access.OPERATOR: [{"operatorToken": []}],
    Access.USER: [{"bearer": []}],
    Access.CALLER: [{"internalToken": []}, {"operatorToken": []}, {"bearer": []}],
    Access.ADMIN: [{"bearer": []}, {"operatorToken": []}],
}
_SCHEMES: Final = {
    "internalToken": {"type": "apiKey", "in": "header", "name": contract.TOKEN_HEADER},
    "nodeToken": {"type": "apiKey", "in": "header", "name": contract.NODE_HEADER},
    "operatorToken": {"type": "apiKey", "in": "header", "name": contract.OPERATOR_HEADER},
    "bearer": {"type": "http", "scheme": "bearer"},
}
# What every endpoint may answer besides its own.
_COMMON: Final = {
    400: "Invalid request",
    401: "Not let in",
    413: "Too large",
    429: "Too many requests",
    500: "Internal error",
    503: "Later",
}
_DESCRIPTIONS: Final = {200: "Done", 201: "Created", 202: "Accepted", 204: "Done", 302: "Go there", **_COMMON}


def document(endpoints: Iterable[Endpoint]) -> dict[str, Any]:
    """The whole document, as plain data."""
    listed = sorted(endpoints, key=lambda endpoint: (endpoint.path, endpoint.method))
    types = {each for endpoint in listed for each in _types(endpoint)} | {contract.Failure}
    ordered = sorted(types, key=lambda each: each.__name__)
    _, components = msgspec.json.schema_components(ordered, ref_template=_REF)
    paths: dict[str, dict[str, Any]] = {}
    for endpoint in listed:
        paths.setdefault(endpoint.path, {})[endpoint.method.lower()] = _operation(endpoint)
    return {
        "openapi": "3.1.0",
        "info": {"title": contract.SERVICE, "version": contract.VERSION},
        "paths": paths,
        "components": {"schemas": components, "securitySchemes": _SCHEMES},
    }


def _types(endpoint: Endpoint) -> Iterable[type[msgspec.Struct]]:
    for each in (endpoint.body, endpoint.query, endpoint.answer, *endpoint.statuses.values()):
        if each is not None:
            yield each


def _operation(endpoint: Endpoint) -> dict[str, Any]:
    found: dict[str, Any] = {
        "operationId": endpoint.name,
        "summary": endpoint.summary,
        "tags": [endpoint.tag],
        "responses": _responses(endpoint),
        "parameters": [*map(_path_parameter, _NAME.findall(endpoint.path)), *_query_parameters(endpoint)],
    }
    if endpoint.body is not None:
        found["requestBody"] = {"required": True, "content": _json(endpoint.body)}
    if endpoint.access in _SECURITY:
        found["security"] = _SECURITY[endpoint.access]
    return found


def _responses(endpoint: Endpoint) -> dict[str, Any]:
    shapes: dict[int, type[msgspec.Struct] | None] = dict.fromkeys(_COMMON, contract.Failure)
    shapes |= {endpoint.status: endpoint.answer, **endpoint.statuses}
    return {
        str(status): {
            "description": _DESCRIPTIONS.get(status, "Refused"),
            **({"content": _json(shape)} if shape is not None else {}),
        }
        for status, shape in sorted(shapes.items())
    }


def _json(shape: type[msgspec.Struct]) -> dict[str, Any]:
    return {"application/json": {"schema": {"$ref": _REF.format(name=shape.__name__)}}}


def _path_parameter(name: str) -> dict[str, Any]:
    schema = {"type": "string", "format": "uuid"}
    if name == "service":
        schema = {"type": "string", "pattern": "^[a-z][a-z0-9_-]{0,63}$"}
    return {"name": name, "in": "path", "required": True, "schema": schema}


def _query_parameters(endpoint: Endpoint) -> Iterable[dict[str, Any]]:
    if endpoint.query is None:
        return
    (schema,), components = msgspec.json.schema_components((endpoint.query,), ref_template=_REF)
    shape = components[endpoint.query.__name__] if "$ref" in schema else schema
    for name, each in shape["properties"].items():
        yield {"name": name, "in": "query", "required": name in shape.get("required", ()), "schema": each}
