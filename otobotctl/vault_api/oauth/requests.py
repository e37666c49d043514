"""What is said to a provider: the address that a browser is sent to, and the requests for tokens. Pure."""

from __future__ import annotations

import base64
import hmac
import json
from collections.abc import Mapping
from dataclasses import dataclass, field
from hashlib import sha256
from urllib.parse import parse_qsl, quote, urlencode, urlsplit

from .outbound import Request
from .providers import Provider, fill

_FORM = {"content-type": "application/x-www-form-urlencoded"}
_JSON = {"content-type": "application/json"}


@dataclass(frozen=True)
class Client:
    """An application's credentials at a provider; no repr shows them."""

    id: str = field(repr=False)
    secret: str = field(repr=False)


def challenge(verifier: str) -> str:
    """The S256 challenge of a PKCE verifier (RFC 7636)."""
    return base64.urlsafe_b64encode(sha256(verifier.encode()).digest()).rstrip(b"=").decode()


def scopes(provider: Provider, wanted: tuple[str, ...]) -> tuple[str, ...]:
    """The scopes to ask for: an application's own, or the default ones, and those that are always asked for."""
    return tuple(dict.fromkeys((*(wanted or provider.default_scopes), *provider.always_scopes)))


def authorization(
    provider: Provider,
    values: Mapping[str, str],
    client_id: str,
    redirect_uri: str,
    state: str,
    *,
    wanted: tuple[str, ...] = (),
    verifier: str | None = None,
) -> str:
    """The address that asks the user. The entry's own parameters come first, so that none can stand in for ours."""
    asked = scopes(provider, wanted)
    said = {
        **provider.authorization_parameters,
        "response_type": "code",
        "client_id": client_id,
        "redirect_uri": redirect_uri,
        "state": state,
        **({"scope": provider.scope_separator.join(asked)} if asked else {}),
        **({"code_challenge": challenge(verifier), "code_challenge_method": "S256"} if verifier else {}),
    }
    url = fill(provider.authorization_url, values)
    return f"{url}{'&' if urlsplit(url).query else '?'}{urlencode(said, quote_via=quote)}"


def exchange(
    provider: Provider,
    values: Mapping[str, str],
    client: Client,
    code: str,
    redirect_uri: str,
    verifier: str | None,
) -> Request:
    """The request that turns a code into tokens."""
    said = {
        **provider.token_parameters,
        "grant_type": "authorization_code",
        "code": code,
        "redirect_uri": redirect_uri,
        **({"code_verifier": verifier} if verifier else {}),
    }
    return _to_token_url(provider, fill(provider.token_url, values), client, said)


def refresh(provider: Provider, values: Mapping[str, str], client: Client, token: str) -> Request:
    """The request that turns a refresh token into a new access token."""
    said = {**provider.refresh_parameters, "grant_type": "refresh_token", "refresh_token": token}
    return _to_token_url(provider, fill(provider.refresh_url or provider.token_url, values), client, said)


def revocation(
    provider: Provider, values: Mapping[str, str], client: Client, tokens: Mapping[str, str | None]
) -> Request | None:
    """The request that takes a grant back; None: there is no way to, or the token that it needs is not there.

    `tokens` are access and refresh.
    """
    how = provider.revocation
    if how is None:
        return None
    token = tokens.get(how.token) or tokens.get("access")
    known = {**values, "client_id": quote(client.id, safe="")}
    if not token:
        return None
    try:
        url = fill(how.url, known)
        said = {name: fill(value, {**values, "client_id": client.id}) for name, value in how.parameters.items()}
    except KeyError:  # the answer that should have been remembered was not given
        return None
    if how.token_field:
        said[how.token_field] = token
    headers = dict(provider.headers)
    if how.authentication == "basic":
        headers["authorization"] = _basic(client)
    elif how.authentication == "body":
        said |= {"client_id": client.id, "client_secret": client.secret}
    elif how.authentication in {"bearer", "secret"}:
        headers["authorization"] = f"Bearer {token if how.authentication == 'bearer' else client.secret}"
    return _with_body(how.method, url, headers, said, how.body_format)


def identity(provider: Provider, token: str) -> Request | None:
    """The request that tells whose account was connected."""
    if provider.identity is None:
        return None
    headers = {**provider.headers, "authorization": f"{provider.identity.scheme} {token}"}
    return Request("GET", provider.identity.url, headers)


def signed(query: str, secret: str) -> bool:
    """Whether a callback's query carries the HMAC of its other parameters under the application's secret (Shopify)."""
    pairs = parse_qsl(query, keep_blank_values=True)
    given = [value for name, value in pairs if name == "hmac"]
    rest = sorted((name, value) for name, value in pairs if name not in {"hmac", "signature"})
    message = "&".join(f"{name}={value}" for name, value in rest)
    wanted = hmac.new(secret.encode(), message.encode(), "sha256").hexdigest()
    return len(given) == 1 and hmac.compare_digest(given[0].encode(), wanted.encode())


def _to_token_url(provider: Provider, url: str, client: Client, said: Mapping[str, str]) -> Request:
    headers = dict(provider.headers)
    body = dict(said)
    if provider.token_authentication == "basic":  # noqa: S105 - a method's name
        headers["authorization"] = _basic(client)
    else:
        body |= {"client_id": client.id, "client_secret": client.secret}
    return _with_body("POST", url, headers, body, provider.body_format)


def _with_body(method: str, url: str, headers: Mapping[str, str], said: Mapping[str, str], form: str) -> Request:
    if not said:  # Dropbox refuses a form's type on a call without a body
        return Request(method, url, headers)
    if form == "json":
        return Request(method, url, {**headers, **_JSON}, json.dumps(said).encode())
    return Request(method, url, {**headers, **_FORM}, urlencode(said).encode())


def _basic(client: Client) -> str:
    # RFC 6749 2.3.1 wants both encoded as a form would; for what providers hand out that changes nothing.
    pair = f"{quote(client.id, safe='')}:{quote(client.secret, safe='')}"
    return f"Basic {base64.b64encode(pair.encode()).decode()}"
