"""Whatever is sent, from nobody, a user or an operator: no defect shows, and nothing of it comes back."""

from __future__ import annotations

import itertools
import json
from uuid import uuid4

import httpx
import msgspec
import pytest
from msgspec import UNSET

from otobotctl.vault_api import contract
from otobotctl.vault_api.actor import Access
from otobotctl.vault_api.routes import admin, auth, curation, tooljet

from .conftest import ALWAYS

MARK = "marked-word"
TEXTS = [
    "", " ", MARK, MARK + "é\U0001f600", f"{MARK}'; DROP TABLE users; --", "%s%(x)s{0}", "../" + MARK, "-1", "null", "a@b.example",
    "x" * 300, "y" * 20_000, f"{MARK}\u0000", "\u202e\u0007\u001b[31m", "00000000-0000-0000-0000-000000000000", "2026-01-01T00:00:00Z",
]  # fmt: skip
RAW = [
    b"",
    b"{",
    b"[]",
    b"null",
    b'"x"',
    b"1e999",
    b'{"email":"\\ud800@x.example"}',
    b"\xff\xfe",
    b"{" * 500,
    b'{"a":' * 200,
]
OTHERS = [None, True, 0, -1, 2**63, 1.5, [], {}, [MARK], {MARK: MARK}, [[[]]]]
ENDPOINTS = (*admin.ENDPOINTS, *auth.ENDPOINTS, *tooljet.ENDPOINTS, *curation.ENDPOINTS)


def bodies(endpoint):
    """Well-formed with one field wrong, and not well-formed at all."""
    if endpoint.body is None:
        return [b"{}"]
    fields = msgspec.structs.fields(endpoint.body)
    usual = {field.encode_name: "a@b.example" for field in fields if field.required}
    made = [json.dumps({**usual, field.encode_name: value}).encode() for field in fields for value in (*TEXTS, *OTHERS)]
    return [*RAW, *made, json.dumps({**usual, MARK: 1}).encode()]


def paths(endpoint):
    """The path with ids that nobody has, and with what is no id; query parameters likewise."""
    filled = "".join(str(uuid4()) if part.startswith("{") else part for part in parts(endpoint.path))
    found = [filled]
    if "{" in endpoint.path:
        found += ["".join("x%00y" if part.startswith("{") else part for part in parts(endpoint.path))]
    if endpoint.query is not None:
        names = [field.encode_name for field in msgspec.structs.fields(endpoint.query)]
        found += [
            f"{filled}?{name}={httpx.QueryParams({'v': value})}" for name, value in itertools.product(names, TEXTS)
        ]
        found += [f"{filled}?{name}=1&{name}=2" for name in names]
    return found


def parts(path):
    return [piece for piece in path.replace("{", "\n{").replace("}", "}\n").split("\n") if piece]


@pytest.mark.parametrize("endpoint", ENDPOINTS, ids=lambda one: one.name)
def test_no_request_shows_a_defect(house, endpoint):
    """Every endpoint, with many wrong requests: a documented status below 500, and nothing quoted."""
    house.no_admin_factor()
    operator = {contract.OPERATOR_HEADER: house.environment["VAULT_OPERATOR_TOKEN"]}
    bearer = {"authorization": f"Bearer {house.bearer()}"}
    headers = {Access.ADMIN: operator, Access.USER: bearer}.get(endpoint.access, {})

    async def all_of_them():
        transport = httpx.ASGITransport(house.app, client=("192.0.2.10", 1))
        async with httpx.AsyncClient(transport=transport, base_url="http://vault") as client:
            asked = itertools.chain(
                ((path, b"{}") for path in paths(endpoint)), ((paths(endpoint)[0], body) for body in bodies(endpoint))
            )
            for path, body in asked:
                got = await client.request(endpoint.method, path, content=body, headers=headers)
                known = {endpoint.status, *endpoint.statuses} | ALWAYS - {405, 500}
                assert got.status_code in known, (path, body[:200], got.text)
                if got.status_code == 401 and endpoint.path.endswith("logout"):
                    return
                if got.status_code >= 400:
                    assert MARK not in got.text

    house.run(all_of_them())


def test_every_body_field_is_bounded():
    """No field of a body is a text or a list without an end."""
    for endpoint in ENDPOINTS:
        for field in msgspec.structs.fields(endpoint.body) if endpoint.body else ():
            schema = msgspec.json.schema(field.type if field.type is not UNSET else str)
            for one in (schema, *schema.get("anyOf", ())):
                if one.get("type") == "string" and "enum" not in one:
                    assert "maxLength" in one, (endpoint.name, field.name)
                if one.get("type") == "array":
                    assert "maxItems" in one, (endpoint.name, field.name)
