"""The shipped entries, each by itself, and what the loader refuses."""

from __future__ import annotations

import re
from urllib.parse import parse_qsl, urlsplit

import msgspec
import pytest

from otobotctl.vault_api.oauth import providers, requests

LOADED = providers.load()
OAUTH2 = sorted(code for code, provider in LOADED.items() if provider.kind == "oauth2")
ASKED_FOR = [
    "google",
    "microsoft",
    "notion",
    "slack",
    "github",
    "gitlab",
    "hubspot",
    "linkedin",
    "dropbox",
    "airtable",
    "pipedrive",
    "stripe",
    "trello",
    "zoom",
    "salesforce",
    "mailchimp",
    "shopify",
    "asana",
    "jira",
    "discord",
    "openai",
    "anthropic",
    "ia-interne",
]


def examples(provider):
    return {name: parameter.example for name, parameter in provider.parameters.items()}


def test_every_service_asked_for_is_there():
    """The services of the seeds and of the issue are in the shipped file."""
    assert set(ASKED_FOR) <= LOADED.keys()


@pytest.mark.parametrize("code", OAUTH2)
def test_an_entry_calls_https_hosts_of_its_own(code):
    """Every address of an entry is https, on a named host without port or user, and its facts have a source."""
    provider = LOADED[code]
    assert provider.docs
    assert provider.api_hosts
    for field, url in provider.urls():
        parts = urlsplit(providers.fill(url, examples(provider) | {"client_id": "client"}))
        assert (parts.scheme, parts.port, parts.username) == ("https", None, None), field
        assert "." in parts.hostname
        assert not re.fullmatch(r"[0-9.]+|\[.*", parts.hostname)


@pytest.mark.parametrize(("code", "name"), [(code, name) for code in OAUTH2 for name in LOADED[code].parameters])
@pytest.mark.parametrize("sample", providers.HOSTILE)
def test_no_parameter_can_move_an_address(code, name, sample):
    """Whatever a caller gives as subdomain or tenant, a value that is not plain is refused before it is in a URL."""
    provider = LOADED[code]
    if sample == "" and provider.parameters[name].default:  # not given: the default stands in
        assert provider.values({**examples(provider), name: sample})[name] == provider.parameters[name].default
        return
    with pytest.raises(ValueError, match="must be such as"):
        provider.values({**examples(provider), name: sample})


@pytest.mark.parametrize("code", OAUTH2)
def test_an_entry_cannot_say_what_is_ours(code):
    """In the address that asks the user our parameters stand exactly once, with our values."""
    provider = LOADED[code]
    url = requests.authorization(
        provider,
        provider.values(examples(provider)),
        "the-client",
        "https://v.example/cb",
        "the-state",
        verifier="v" * 43,
    )
    said = parse_qsl(urlsplit(url).query, keep_blank_values=True)
    names = [name for name, _ in said]
    assert len(names) == len(set(names))
    wanted = {"response_type": "code", "client_id": "the-client", "redirect_uri": "https://v.example/cb"}
    assert wanted.items() <= dict(said).items()
    assert dict(said)["state"] == "the-state"
    assert dict(said)["code_challenge_method"] == "S256"


@pytest.mark.parametrize("code", OAUTH2)
def test_a_refresh_token_can_come(code):
    """Where a provider wants to be asked for a refresh token, the entry asks, whatever scopes an application has."""
    asked = {
        "google": ("access_type", "offline"), "dropbox": ("token_access_type", "offline"),
        "microsoft": ("scope", "offline_access"), "jira": ("scope", "offline_access"),
        "salesforce": ("scope", "refresh_token"), "typeform": ("scope", "offline"),
    }  # fmt: skip
    provider = LOADED[code]
    url = requests.authorization(
        provider, provider.values(examples(provider)), "c", "https://v/cb", "s", wanted=("one",)
    )
    said = dict(parse_qsl(urlsplit(url).query))
    name, value = asked.get(code, ("state", "s"))
    assert value in re.split(r"[ ,]", said[name])
    assert "one" in re.split(r"[ ,]", said["scope"])


GOOD = {
    "name": "Test",
    "parameters": {"shop": {"description": "d", "pattern": "[a-z0-9]{1,20}", "example": "acme"}},
    "authorization_url": "https://{shop}.test.example/authorize",
    "token_url": "https://{shop}.test.example/token",
}


@pytest.mark.parametrize(
    ("change", "finding"),
    [
        ({"token_url": "http://{shop}.test.example/token"}, "must be https"),
        ({"token_url": "https://{shop}/token"}, "end of the host"),
        ({"token_url": "https://test.{shop}/token"}, "end of the host"),
        ({"token_url": "https://test.example.{shop}/token"}, "end of the host"),
        ({"token_url": "https://{shop}.test.example:8443/token"}, "no port"),
        ({"token_url": "https://me@test.example/token"}, "no user"),
        ({"token_url": "https://test.example/token#x"}, "no fragment"),
        ({"token_url": "https://127.0.0.1/token"}, "must have a host"),
        ({"token_url": "https://[::1]/token"}, "must have a host"),
        ({"token_url": "https://localhost/token"}, "must have a host"),
        ({"token_url": "https://{other}.test.example/token"}, "no parameter"),
        ({"token_url": ""}, "must be https"),
        ({"refresh_url": "ftp://test.example/token"}, "must be https"),
        ({"revocation": {"url": "http://test.example", "token": "access", "authentication": "none"}}, "must be https"),
        ({"identity": {"url": "http://test.example", "account": "id"}}, "must be https"),
        ({"authorization_parameters": {"redirect_uri": "https://evil.example"}}, "vault's to say"),
        ({"authorization_parameters": {"state": "fixed"}}, "vault's to say"),
        ({"token_parameters": {"grant_type": "password"}}, "vault's to say"),
        ({"refresh_parameters": {"client_secret": "x"}}, "vault's to say"),
        ({"headers": {"Authorization": "x"}}, "vault's to say"),
        ({"headers": {"Host": "x"}}, "vault's to say"),
        ({"parameters": {"shop": {"description": "d", "pattern": ".*", "example": "acme"}}}, "lets"),
        ({"parameters": {"shop": {"description": "d", "pattern": "[a-z/]+", "example": "acme"}}}, "lets"),
        ({"parameters": {"shop": {"description": "d", "pattern": "([", "example": "acme"}}}, "regular expression"),
        ({"parameters": {"shop": {"description": "d", "pattern": "[a-z]{1,9}", "example": "A1"}}}, "example"),
        ({"parameters": {"state": {"description": "d", "pattern": "[a-z]{1,9}", "example": "a"}}}, "not a name"),
        ({"default_scopes": ["one two"]}, "not a scope"),
        ({"api_hosts": ["https://x.example"]}, "not a host"),
        ({"docs": "http://x.example"}, "docs must be"),
    ],
)
def test_a_hole_in_an_entry_is_found(change, finding):
    """An entry that could send a secret elsewhere, or speak for the vault, does not load."""
    assert providers.check("test", msgspec.convert(GOOD, providers.Provider)) == []
    findings = providers.check("test", msgspec.convert({**GOOD, **change}, providers.Provider))
    assert any(finding in found for found in findings), findings


@pytest.mark.parametrize(
    "text",
    ["test: {name: T, unknown: 1}", "test: {name: T, pkce: maybe}", "test: {kind: oauth2}", "[1, 2]", "Test: {name: T, kind: api_key}", "a: [", "test: {name: T}"],
)  # fmt: skip
def test_a_file_that_is_not_right_is_refused(tmp_path, text):
    """Unknown fields, wrong types, missing fields, a bad code: the file is refused whole."""
    path = tmp_path / "more.yaml"
    path.write_text(text)
    with pytest.raises(providers.ProvidersError):
        providers.load(path)


def test_an_entry_is_all_that_a_provider_needs(tmp_path):
    """A file of one's own adds a service and may replace a shipped one; plain HTTP passes for an allowed loopback only."""
    path = tmp_path / "more.yaml"
    path.write_text("local: {name: L, authorization_url: 'http://127.0.0.1:9/a', token_url: 'http://127.0.0.1:9/t'}")
    assert providers.load(path, allow=frozenset({"127.0.0.1:9"}))["local"].name == "L"
    with pytest.raises(providers.ProvidersError, match="must be https"):
        providers.load(path)
    with pytest.raises(providers.ProvidersError, match="must be https"):
        providers.load(path, allow=frozenset({"127.0.0.1:10"}))
