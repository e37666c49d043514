"""What callers send, checked. Findings name the field and never quote the value."""

from __future__ import annotations

import json
import re
from datetime import datetime
from typing import Any
from uuid import UUID

from .store import NewConnection

_UUID = re.compile(r"[0-9a-fA-F]{8}(-[0-9a-fA-F]{4}){3}-[0-9a-fA-F]{12}")
_SERVICE = re.compile(r"[a-z][a-z0-9_-]{0,63}")
_EMAIL = re.compile(r"[^@\s\x00]{1,64}@[^@\s\x00]{1,189}")
_COLUMNS = {
    "accessToken": "encrypted_access_token",
    "refreshToken": "encrypted_refresh_token",
    "apiKey": "encrypted_api_key",
}


class InputError(Exception):
    """A request is not valid; one finding a field."""

    def __init__(self, *findings: str) -> None:
        super().__init__(*findings)
        self.findings = findings


def user_id(text: str) -> UUID:
    """A user's id in the canonical form. Raises InputError."""
    if not _UUID.fullmatch(text):
        raise InputError("the user must be a UUID")
    return UUID(text)


def service_code(text: str) -> str:
    """A service's code. Raises InputError."""
    if not _SERVICE.fullmatch(text):
        raise InputError("the service must be a code such as google: a-z, 0-9, hyphens and underscores")
    return text


def connection(body: bytes) -> NewConnection:
    """A NewCredentials of the contract. Raises InputError."""
    values = _strings(body, {*_COLUMNS, "accountIdentifier", "expiresAt"})
    if not any(values.get(name) for name in _COLUMNS):
        raise InputError("one of accessToken, refreshToken and apiKey is needed")
    sealed = {column: values.get(name) or None for name, column in _COLUMNS.items()}
    return NewConnection(sealed, values.get("accountIdentifier", ""), _instant(values.get("expiresAt")))


def user(body: bytes) -> tuple[str, str, str]:
    """The e-mail address, name and role of a NewUser. Raises InputError."""
    values = _strings(body, {"email", "name", "role"})
    email, role = values.get("email", ""), values.get("role", "user")
    findings = []
    if not _EMAIL.fullmatch(email):
        findings.append("email must be an e-mail address")
    if role not in {"admin", "user"}:
        findings.append("role must be admin or user")
    if findings:
        raise InputError(*findings)
    return email, values.get("name", ""), role


def _strings(body: bytes, known: set[str]) -> dict[str, str]:
    try:
        document: Any = json.loads(body)
    except (ValueError, RecursionError):
        raise InputError("the body must be JSON") from None
    if not isinstance(document, dict):
        raise InputError("the body must be a JSON object")
    findings = [] if document.keys() <= known else [f"only these fields are known: {', '.join(sorted(known))}"]
    texts = sorted(known & document.keys())
    findings += [f"{name} must be a string of Unicode text" for name in texts if not _is_text(document[name])]
    if findings:
        raise InputError(*findings)
    return document


def _is_text(value: object) -> bool:
    if not isinstance(value, str) or "\x00" in value:  # PostgreSQL's text has no NUL
        return False
    try:
        value.encode()
    except UnicodeEncodeError:  # a lone surrogate
        return False
    return True


def _instant(text: str | None) -> datetime | None:
    if not text:
        return None
    try:
        moment = datetime.fromisoformat(text)
    except ValueError:
        moment = None
    if moment is None or moment.tzinfo is None:
        raise InputError("expiresAt must be an ISO 8601 time with an offset, such as 2026-01-31T12:00:00Z")
    return moment
