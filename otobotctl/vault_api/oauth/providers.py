"""The services that a user can connect, read from providers.yaml and checked whole before anything uses them."""

from __future__ import annotations

import re
from collections.abc import Iterator, Mapping
from pathlib import Path
from typing import TYPE_CHECKING, Any, Literal
from urllib.parse import urlsplit

import msgspec
import yaml
from msgspec import Struct

if TYPE_CHECKING:
    from ..configuration import Settings

FILE = Path(__file__).with_name("providers.yaml")
CODE = re.compile(r"[a-z][a-z0-9_-]{0,63}")
PLACEHOLDER = re.compile(r"\{([a-z_]+)\}")
# What the vault itself says; no entry may say otherwise.
RESERVED = frozenset(
    (
        *("client_id", "client_secret", "redirect_uri", "response_type", "scope", "state", "code", "nonce"),
        *("code_challenge", "code_challenge_method", "code_verifier", "grant_type", "refresh_token"),
    )
)
_HOST = re.compile(r"(\*\.)?([a-z0-9-]{1,63}\.)+[a-z]{2,24}")
# By libyaml where it is there: each start of any of the vault's programs reads the file.
_LOADER = getattr(yaml, "CSafeLoader", yaml.SafeLoader)
_LOOPBACK = frozenset({"127.0.0.1", "localhost"})
# None of these may pass a parameter's pattern: each would move a URL to another host, path or query.
HOSTILE = (
    "", ".", "..", "a/b", "/a", "a\\b", "a@b", "a:1", "a?b", "a#b", "a b", "a\nb", "a\n", "a%2fb", "a.evil.example/",
    "a..b", "-a", ".a", "a.", "\u00e9", "a\u2025b", "\uff0f", "a&b", "{a}", "[::1]", "127.0.0.1", "A" * 300,
)  # fmt: skip

Authentication = Literal["basic", "body", "bearer", "secret", "none"]


class ProvidersError(Exception):
    """The file is not right; one finding an entry and field."""

    def __init__(self, findings: tuple[str, ...]) -> None:
        super().__init__("; ".join(findings))
        self.findings = findings


class Entry(Struct, frozen=True, kw_only=True, forbid_unknown_fields=True):
    """A part of the file: nothing unknown in it."""


class Parameter(Entry, frozen=True, kw_only=True):
    """What differs from account to account, such as a shop's name; a value must match `pattern` whole."""

    description: str
    pattern: str
    example: str
    default: str = ""


class Revocation(Entry, frozen=True, kw_only=True):
    """How a grant is taken back. `token_field` empty: the token is not in the body.

    `authentication`: basic or body with the application's credentials, bearer with the user's token, secret with the
    application's secret as a bearer.
    """

    url: str
    token: Literal["access", "refresh"]
    authentication: Authentication
    method: Literal["POST", "DELETE"] = "POST"
    body_format: Literal["form", "json"] = "form"
    token_field: str = "token"  # noqa: S105 - a field's name
    parameters: dict[str, str] = {}


class Identity(Entry, frozen=True, kw_only=True):
    """Asked once after a connect, for the account's name and what its API needs; may fail without harm."""

    url: str
    account: str
    scheme: Literal["Bearer", "OAuth"] = "Bearer"
    remember: dict[str, str] = {}


class Provider(Entry, frozen=True, kw_only=True):
    """One service. Paths into answers are dotted, as in `authed_user.access_token`.

    Attributes:
        always_scopes: asked for whatever an application's scopes are; without them no refresh token comes.
        headers: sent with requests to the token's URL.
        issuer: what `iss` of a callback must be (RFC 9207); empty: its host must be the authorization URL's.
        callback_matches, callback_hmac: parameters of the callback with their values; and whether it is signed.
        access_token_paths: where the token may stand; its refresh token and expiry stand beside it.
        success_field: false in an answer that says 200 and has failed.
        permanent_errors: error codes, besides invalid_grant, after which no refresh can work.
        rotates: a refresh gives a new refresh token and ends the old one; a fault after such a request says so.
        expires: false: tokens are for ever, whatever answers say. `lifetime_s`: used where answers do not say.
        early_s: how much sooner than answers say tokens end.
        account, remember: paths into the token's answer; what is remembered is kept with the connection, in clear.
    """

    name: str
    kind: Literal["oauth2", "api_key"] = "oauth2"
    docs: str = ""
    parameters: dict[str, Parameter] = {}
    authorization_url: str = ""
    authorization_parameters: dict[str, str] = {}
    scope_separator: Literal[" ", ","] = " "
    always_scopes: tuple[str, ...] = ()
    default_scopes: tuple[str, ...] = ()
    pkce: bool = True
    issuer: str = ""
    callback_matches: dict[str, str] = {}
    callback_hmac: bool = False
    token_url: str = ""
    refresh_url: str = ""
    token_authentication: Literal["basic", "body"] = "body"  # noqa: S105 - not a secret
    body_format: Literal["form", "json"] = "form"
    headers: dict[str, str] = {}
    token_parameters: dict[str, str] = {}
    refresh_parameters: dict[str, str] = {}
    access_token_paths: tuple[str, ...] = ("access_token",)
    success_field: str = ""
    permanent_errors: tuple[str, ...] = ()
    rotates: bool = False
    expires: bool = True
    expires_in_unit: Literal["seconds", "milliseconds"] = "seconds"
    lifetime_s: int = 0
    early_s: int = 0
    account: str = ""
    remember: dict[str, str] = {}
    revocation: Revocation | None = None
    identity: Identity | None = None
    api_hosts: tuple[str, ...] = ()

    def values(self, given: Mapping[str, str]) -> dict[str, str]:
        """The parameters with their defaults. Raises ValueError: one is missing, unknown, or not of its pattern."""
        for name in given.keys() - self.parameters.keys():
            raise ValueError(f"{name if CODE.fullmatch(name) else 'a parameter'} is not a parameter of this service")
        found = {}
        for name, parameter in self.parameters.items():
            value = given.get(name) or parameter.default
            if not fits(parameter, value):
                raise ValueError(f"{name} must be such as {parameter.example}")
            found[name] = value
        return found

    def urls(self) -> Iterator[tuple[str, str]]:
        """Every address of the entry that is called, by field."""
        fields = {"authorization_url": self.authorization_url, "token_url": self.token_url}
        if self.refresh_url:
            fields["refresh_url"] = self.refresh_url
        if self.revocation:
            fields["revocation.url"] = self.revocation.url
        if self.identity:
            fields["identity.url"] = self.identity.url
        yield from fields.items()


def fits(parameter: Parameter, value: str) -> bool:
    """Whether a value matches its parameter's pattern from end to end."""
    return bool(re.fullmatch(parameter.pattern, value, re.ASCII)) and "\n" not in value


def fill(template: str, values: Mapping[str, str]) -> str:
    """Replace every {name}. Raises KeyError for a name without a value."""
    return PLACEHOLDER.sub(lambda match: values[match[1]], template)


def of(settings: Settings) -> dict[str, Provider]:
    """The providers of a vault: the shipped ones and those of VAULT_PROVIDERS_FILE. Raises ProvidersError.

    Where a service is this client's own, VAULT_API_HOSTS says at which host it answers.
    """
    more = (Path(settings.providers_file),) if settings.providers_file else ()
    found = load(*more, allow=settings.outbound_allow)
    for code, host in settings.api_hosts:
        if code not in found or not _HOST.fullmatch(host):
            raise ProvidersError((f"VAULT_API_HOSTS: {code} is no service, or what follows is no host",))
        found[code] = msgspec.structs.replace(found[code], api_hosts=(*found[code].api_hosts, host))
    return found


def load(*files: Path, allow: frozenset[str] = frozenset()) -> dict[str, Provider]:
    """Read the shipped file and `files` after it, whose entries replace its own, by code.

    `allow` are `host:port` entries that may be called by plain HTTP.

    Raises:
        ProvidersError: with every finding at once.
    """
    found: dict[str, Provider] = {}
    findings: list[str] = []
    for path in (FILE, *files):
        try:
            entries = yaml.load(path.read_text(encoding="utf-8"), _LOADER)  # noqa: S506 - both make plain data only
        except (OSError, yaml.YAMLError) as error:
            raise ProvidersError((f"{path.name} cannot be read: {type(error).__name__}",)) from None
        for code, entry in _items(entries, path.name, findings):
            try:
                found[code] = msgspec.convert(entry, Provider)
            except msgspec.ValidationError as error:
                findings.append(f"{code}: {error}")
    for code, provider in found.items():
        findings += [f"{code}: {finding}" for finding in check(code, provider, allow)]
    if findings:
        raise ProvidersError(tuple(findings))
    return found


def _items(entries: Any, name: str, findings: list[str]) -> list[tuple[str, Any]]:
    if isinstance(entries, dict) and all(isinstance(code, str) for code in entries):
        return list(entries.items())
    findings.append(f"{name} must be a mapping of services")
    return []


def check(code: str, provider: Provider, allow: frozenset[str] = frozenset()) -> list[str]:
    """What is wrong with an entry, one finding a field."""
    findings = [] if CODE.fullmatch(code) else ["the code must be a-z, 0-9, hyphens and underscores"]
    if provider.docs and urlsplit(provider.docs).scheme != "https":
        findings.append("docs must be an https address")
    findings += [f"api_hosts: {host} is not a host" for host in provider.api_hosts if not _HOST.fullmatch(host)]
    if provider.kind == "api_key":
        asked = provider.authorization_url or provider.token_url
        return findings + (["an API key needs no addresses"] if asked else [])
    for name, parameter in provider.parameters.items():
        findings += [f"parameters.{name}: {finding}" for finding in _check_parameter(name, parameter)]
    for field, url in provider.urls():
        findings += [f"{field}: {finding}" for finding in _check_url(url, provider, allow)]
    return findings + _check_requests(provider)


def _check_parameter(name: str, parameter: Parameter) -> list[str]:
    if name in RESERVED or not CODE.fullmatch(name):
        return ["not a name that a parameter may have"]
    try:
        passed = [sample for sample in HOSTILE if fits(parameter, sample)]
    except re.error:
        return ["the pattern is not a regular expression"]
    findings = [f"the pattern lets {sample!r} pass" for sample in passed]
    said = {"example": parameter.example, "default": parameter.default or parameter.example}
    return findings + [f"the {field} does not match" for field, value in said.items() if not fits(parameter, value)]


def _check_url(url: str, provider: Provider, allow: frozenset[str]) -> list[str]:
    known = {name: parameter.example for name, parameter in provider.parameters.items()} | {"client_id": "client"}
    try:
        parts = urlsplit(fill(url, known))
        port = parts.port
    except (KeyError, ValueError):
        return ["has a {name} that is no parameter, or is no address"]
    host = parts.hostname or ""
    if parts.username is not None or parts.password is not None or parts.fragment:
        return ["must have no user and no fragment"]
    if f"{host}:{port or {'http': 80}.get(parts.scheme, 443)}" in allow and host in _LOOPBACK:
        return []
    findings = [] if parts.scheme == "https" else ["must be https"]
    findings += [] if _HOST.fullmatch(host) and not host.startswith("*") else ["must have a host"]
    # A value may be a label or two of the host, never its end: that stays the provider's.
    bare = urlsplit(PLACEHOLDER.sub("x", url)).hostname or ""
    if host.split(".")[-2:] != bare.split(".")[-2:]:
        findings.append("the end of the host must not be a parameter")
    return findings + ([] if port is None else ["must have no port"])


def _check_requests(provider: Provider) -> list[str]:
    said = {
        "authorization_parameters": provider.authorization_parameters,
        "token_parameters": provider.token_parameters,
        "refresh_parameters": provider.refresh_parameters,
    }
    findings = [
        f"{field}: {name} is the vault's to say" for field, names in said.items() for name in names if name in RESERVED
    ]
    findings += [
        f"headers: {name} is the vault's to say"
        for name in provider.headers
        if name.lower() in {"authorization", "host", "content-type", "content-length", "cookie"}
    ]
    for scope in (*provider.always_scopes, *provider.default_scopes):
        if not re.fullmatch(r"[\x21\x23-\x5b\x5d-\x7e]+", scope) or (provider.scope_separator == "," and "," in scope):
            findings.append("scopes: one is not a scope (RFC 6749, 3.3)")
    return findings
