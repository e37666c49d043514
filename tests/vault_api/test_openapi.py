"""Everything that the OpenAPI document allows is asked of a real vault: no 5xx, no status or shape it does not name."""

from __future__ import annotations

import pytest
import schemathesis
from hypothesis import HealthCheck, Phase, settings
from schemathesis.checks import not_a_server_error
from schemathesis.specs.openapi.checks import (
    content_type_conformance,
    response_schema_conformance,
    status_code_conformance,
)

from otobotctl.vault_api import contract
from otobotctl.vault_api.openapi import document
from otobotctl.vault_api.routes import ENDPOINTS
from scripts.story import vault as running
from tests.vault_api import conftest

_SCHEMA = schemathesis.openapi.from_dict(document(ENDPOINTS))
_CHECKS = [not_a_server_error, status_code_conformance, content_type_conformance, response_schema_conformance]


@pytest.fixture(scope="module")
def asked(postgres, tmp_path_factory):
    """A vault whose limits are out of the way, and what everybody who may ask shows it."""
    environment = conftest.new_environment(postgres) | {"VAULT_PUBLIC_RATE": "100000000/minute"}
    with running.serving(environment, tmp_path_factory.mktemp("asked") / "log.jsonl") as vault:
        headers = {
            contract.TOKEN_HEADER: environment["N8N_INTERNAL_TOKEN"],
            contract.OPERATOR_HEADER: environment["VAULT_OPERATOR_TOKEN"],
        }
        yield vault, headers


@_SCHEMA.parametrize()
@settings(
    max_examples=6,
    deadline=None,
    database=None,
    derandomize=True,
    phases=[Phase.explicit, Phase.generate],
    suppress_health_check=list(HealthCheck),
)
def test_the_document_is_kept(case, asked):
    """Whatever is generated for an endpoint, right or wrong, is answered as documented."""
    vault, headers = asked
    case.call_and_validate(base_url=vault.url, headers=headers, checks=_CHECKS, timeout=30)
