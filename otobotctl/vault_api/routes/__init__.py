"""Every endpoint, as data."""

from __future__ import annotations

from .. import contract, openapi
from ..actor import Access
from ..endpoint import Answer, Call, Endpoint
from . import admin, auth, curation, internal, oauth, operations, tooljet


async def _document(_call: Call) -> Answer:
    return Answer(200, openapi.document(ENDPOINTS))


ENDPOINTS: tuple[Endpoint, ...] = (
    *operations.ENDPOINTS,
    *internal.ENDPOINTS,
    *oauth.ENDPOINTS,
    *tooljet.ENDPOINTS,
    *curation.ENDPOINTS,
    *auth.ENDPOINTS,
    *admin.ENDPOINTS,
    Endpoint(
        "GET", contract.OPENAPI_PATH, "openapi", _document, summary="This document.", answer=None,
        access=Access.PUBLIC, limit="public", tag="operations",
    ),
)  # fmt: skip
