"""What a client's services are given of IA Interne: the key for their purpose, and nothing where there is none."""

from __future__ import annotations

import json

import pytest

from otobotctl.render.client import render_client
from otobotctl.secrets import Secret
from tests.render.sample import catalog, composed, resolved, secrets_of, text
from tests.render.test_services import environment

N8N, VAULT = "IA_INTERNE_API_KEY_N8N", "IA_INTERNE_API_KEY_VAULT"
ROOT = "-----BEGIN CERTIFICATE-----\nMIIB\n-----END CERTIFICATE-----\n"


def rendered(*purposes, queue=False, own_authority=False, **keys):
    """The release of acme, which may ask IA Interne for these purposes and has these keys."""

    def change(document):
        own = {"ia-proxy": {"acme_directory": "https://ca.example/dir", "acme_ca": ROOT}} if own_authority else {}
        gpu = {"domain": "ia.otobot.example", "email": "it@otobot.example", "settings": own, "models": ["a:1"]}
        gpu["callers"] = {"acme": {"purposes": list(purposes)}} if purposes else {}
        document["hosts"]["gpu-1"] = {"address": "203.0.113.20", "stack": "gpu", "gpu": gpu}
        services = ["postgres", "vault-api", "n8n", *(["redis"] if queue else [])]
        document["clients"]["acme"].update(services=services, settings={"n8n": {"mode": "queue"}} if queue else {})

    fleet = resolved(change)
    client = fleet.client("acme")
    made_up = {name: Secret(name, value) for name, value in keys.items()}
    store = {**secrets_of(client), **made_up}
    return render_client(client, fleet.host(client.host), client.index, store, catalog())


def items(release):
    """What is prepared of IA Interne, by service."""
    return {
        each.service: item
        for each in release.provisions
        for item in map(json.loads, each.items)
        if item["id"] in {"otobotIaInterne", "ia-interne"}
    }


def test_each_service_gets_the_key_of_its_own_purpose_and_the_address():
    """n8n a credential that its nodes for OpenAI take; the vault a connection."""
    found = items(rendered("n8n", "vault", **{N8N: "key-of-n8n", VAULT: "key-of-vault"}))
    assert (found["n8n"]["kind"], found["n8n"]["type"]) == ("credential", "openAiApi")
    assert found["n8n"]["data"] == {
        "apiKey": "key-of-n8n",
        "organizationId": "",
        "url": "https://ia.otobot.example/v1",
        "allowedHttpRequestDomains": "domains",
        "allowedDomains": "ia.otobot.example",
    }
    assert (found["vault-api"]["kind"], found["vault-api"]["apiKey"]) == ("connection", "key-of-vault")
    assert found["vault-api"]["url"] == "https://ia.otobot.example/v1"


def test_none_of_it_is_in_a_release_so_no_rollback_brings_a_former_key_back():
    """Neither key is in any file, and another key changes no file."""
    first = rendered("n8n", "vault", **{N8N: "key-of-n8n", VAULT: "key-of-vault"})
    assert [file.path for file in first.files if b"key-of-" in file.content] == []
    second = rendered("n8n", "vault", **{N8N: "another", VAULT: "another"})
    assert second.digest == first.digest
    assert second.provisions != first.provisions


@pytest.mark.parametrize(
    ("purposes", "keys"),
    [
        pytest.param((), {}, id="no key"),
        pytest.param(("librechat",), {}, id="a key for something else"),
        pytest.param(("n8n", "vault"), {}, id="listed, and none minted yet"),
    ],
)
def test_a_client_without_such_a_key_is_asked_nothing(purposes, keys):
    """The vault's program is not even started."""
    release = rendered(*purposes, **keys)
    assert items(release) == {}
    assert [each.service for each in release.provisions] == ["n8n"]


@pytest.mark.parametrize(
    ("purposes", "value"),
    [pytest.param((), "", id="revoked"), pytest.param((), "left", id="taken out of the manifest by hand")],
)
def test_what_was_revoked_is_removed(purposes, value):
    """The items say so, and hold no value."""
    found = items(rendered(*purposes, **{N8N: value, VAULT: value}))
    assert {each["kind"] for each in found.values()} == {"no credential", "no connection"}
    assert {key for each in found.values() for key in each} == {"kind", "id", "name", "title"}


def test_the_vault_knows_which_host_its_key_may_go_to():
    """And nobody else's vault does."""
    assert (
        environment(rendered("vault", **{VAULT: "k"}), "vault-api")["VAULT_API_HOSTS"] == "ia-interne=ia.otobot.example"
    )
    assert "VAULT_API_HOSTS" not in environment(rendered("n8n", **{N8N: "k"}), "vault-api")


@pytest.mark.parametrize("purpose", ["n8n", "vault"])
def test_n8n_trusts_the_authority_that_ia_interne_has_of_its_own(purpose):
    """n8n and its workers, whichever key they ask with; where everybody trusts it, nothing is added."""
    release = rendered(purpose, queue=True, own_authority=True)
    assert text(release, "n8n/ia-ca.pem").strip() == ROOT.strip()
    for name in ("n8n", "n8n-worker"):
        assert environment(release, name)["NODE_EXTRA_CA_CERTS"] == "/otobot/ia-ca.pem"
        assert "./n8n/ia-ca.pem:/otobot/ia-ca.pem:ro" in composed(release)["services"][name]["volumes"]
    for other in (rendered(purpose, queue=True), rendered("librechat", queue=True, own_authority=True)):
        assert "NODE_EXTRA_CA_CERTS" not in environment(other, "n8n")
        assert "ia-ca" not in text(other, "compose.yaml")
