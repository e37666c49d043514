"""What a provider's answer means. Pure, and total: whatever the bytes, it is tokens or a refusal."""

from __future__ import annotations

import math
import re
from collections.abc import Mapping
from dataclasses import dataclass, field
from datetime import UTC, datetime, timedelta
from typing import Any, Final

import msgspec

from .outbound import Response
from .providers import Provider

_CODE = re.compile(r"[a-z][a-z0-9_]{0,63}", re.ASCII)
_MOST_TOKEN: Final = 16_384
_MOST_TEXT: Final = 254
_LONGEST: Final = timedelta(days=3650)
_KEPT: Final = re.compile(r"[\x20-\x7e\u00a0-\uffff]{1,254}")


@dataclass(frozen=True)
class Tokens:
    """What a provider gave. `refresh` None: it gave none. `expires_at` None: the token does not run out."""

    access: str = field(repr=False)
    refresh: str | None = field(repr=False)
    expires_at: datetime | None
    scopes: tuple[str, ...]
    account: str
    remembered: Mapping[str, str]


@dataclass(frozen=True)
class Refusal:
    """What a provider gave instead. `code` is one of ours or an OAuth error code; `permanent`: the grant is gone."""

    code: str
    permanent: bool = False
    after_s: int | None = None


def read(provider: Provider, values: Mapping[str, str], response: Response, now: datetime) -> Tokens | Refusal:
    """What an answer of a token URL means."""
    if response.status >= 500 or response.status == 429:  # noqa: PLR2004 - a passing fault, whatever the body says
        return Refusal(f"http_{response.status}", after_s=_after(response))
    try:
        answer = msgspec.json.decode(response.body)
    except (msgspec.DecodeError, RecursionError, UnicodeError):
        answer = None
    if not isinstance(answer, dict):
        return Refusal("not_json" if response.status < 400 else f"http_{response.status}")  # noqa: PLR2004
    said = answer.get("error")
    if said is None and provider.success_field and answer.get(provider.success_field) is False:
        said = "failed"
    if said is None and isinstance(answer.get("status"), str) and answer["status"] in provider.permanent_errors:
        said = answer["status"]
    if said is not None or response.status >= 400:  # noqa: PLR2004
        return _refusal(provider, said, response)
    return _tokens(provider, values, answer, now) or Refusal("no_token")


def _refusal(provider: Provider, said: object, response: Response) -> Refusal:
    code = said if isinstance(said, str) and (_CODE.fullmatch(said) or said in provider.permanent_errors) else ""
    permanent = code == "invalid_grant" or (bool(code) and code in provider.permanent_errors)
    return Refusal(code or f"http_{response.status}", permanent, _after(response))


def _tokens(provider: Provider, values: Mapping[str, str], answer: dict[str, Any], now: datetime) -> Tokens | None:
    for path in provider.access_token_paths:
        access = at(answer, path)
        if not _token(access):
            continue
        beside = at(answer, path.rpartition(".")[0]) if "." in path else answer
        refresh = beside.get("refresh_token")
        scope = beside.get("scope")
        return Tokens(
            access=access,
            refresh=refresh if _token(refresh) else None,
            expires_at=_expiry(provider, beside, now),
            scopes=tuple(re.split(r"[ ,]+", scope.strip())[:100]) if isinstance(scope, str) and scope.strip() else (),
            account=_account(provider, values, answer),
            remembered=kept(answer, provider.remember),
        )
    return None


def _token(value: object) -> bool:
    return isinstance(value, str) and 0 < len(value) <= _MOST_TOKEN and value.isascii() and value.isprintable()


def _expiry(provider: Provider, beside: Mapping[str, Any], now: datetime) -> datetime | None:
    if not provider.expires:
        return None
    said = beside.get("expires_in")
    if isinstance(said, str) and said.isascii() and said.isdigit():
        said = int(said[:18])
    if isinstance(said, bool) or not isinstance(said, int | float) or not math.isfinite(said) or said <= 0:
        return now + timedelta(seconds=provider.lifetime_s) if provider.lifetime_s else None
    seconds = said / 1000 if provider.expires_in_unit == "milliseconds" else said
    return now + timedelta(seconds=max(0.0, min(seconds, _LONGEST.total_seconds()) - provider.early_s))


def _account(provider: Provider, values: Mapping[str, str], answer: Mapping[str, Any]) -> str:
    if provider.account.startswith("{"):
        return values.get(provider.account.strip("{}"), "")
    return text(at(answer, provider.account)) if provider.account else ""


def at(answer: object, path: str) -> Any:
    """What stands at a dotted path, whose numbers are places in a list; None where there is nothing."""
    found = answer
    for step in path.split("."):
        if isinstance(found, dict):
            found = found.get(step)
        elif isinstance(found, list) and step.isdigit() and int(step) < len(found):
            found = found[int(step)]
        else:
            return None
    return found


def text(value: object) -> str:
    """A short text or number of an answer, fit to be kept; empty for anything else."""
    if isinstance(value, bool) or not isinstance(value, str | int):
        return ""
    return str(value)[:_MOST_TEXT] if _KEPT.match(str(value)[:_MOST_TEXT]) else ""


def kept(answer: object, paths: Mapping[str, str]) -> dict[str, str]:
    """What an answer says at these paths, by name, as far as it says it."""
    found = {name: text(at(answer, path)) for name, path in paths.items()}
    return {name: value for name, value in found.items() if value}


def _after(response: Response) -> int | None:
    said = response.headers.get("retry-after", "")
    return min(int(said[:6]), 3600) if said.isascii() and said.isdigit() else None


def now() -> datetime:
    """The time, with its zone."""
    return datetime.now(UTC)
