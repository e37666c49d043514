"""The users of the stand-in for mongod, and their login: SCRAM-SHA-256 (RFC 5802 and 7677), as real drivers speak it."""

from __future__ import annotations

import base64
import hashlib
import hmac
import os
import secrets
from typing import Any

Document = dict[str, Any]
_ITERATIONS = 15_000


class RefusedError(Exception):
    """An answer that is an error: MongoDB's number and name for it."""

    def __init__(self, code: int, name: str, message: str) -> None:
        super().__init__(message)
        self.code, self.name = code, name


def _hmac(key: bytes, message: bytes) -> bytes:
    return hmac.digest(key, message, "sha256")


def _keys(password: str) -> Document:
    """What is kept of a password: nothing that it can be read from."""
    salt = os.urandom(28)
    salted = hashlib.pbkdf2_hmac("sha256", password.encode(), salt, _ITERATIONS)
    stored = hashlib.sha256(_hmac(salted, b"Client Key")).digest()
    return {"salt": salt, "stored": stored, "server": _hmac(salted, b"Server Key")}


def _roles(command: Document) -> list[Document]:
    given = command["roles"]
    return [role if isinstance(role, dict) else {"role": role, "db": command["$db"]} for role in given]


def create(known: dict[str, Document], command: Document) -> None:
    """Add a user. Raises RefusedError when there is one, or without a password."""
    name, database = command["createUser"], command["$db"]
    if f"{database}.{name}" in known:
        raise RefusedError(51003, "Location51003", f'User "{name}@{database}" already exists')
    if not command.get("pwd"):
        raise RefusedError(2, "BadValue", "Must provide a 'pwd' field for all user documents")
    user = {"user": name, "db": database, "roles": _roles(command), "keys": _keys(command["pwd"])}
    known[f"{database}.{name}"] = user


def update(known: dict[str, Document], command: Document) -> None:
    """Change a user. Raises RefusedError when there is none."""
    name, database = command["updateUser"], command["$db"]
    user = known.get(f"{database}.{name}")
    if user is None:
        raise RefusedError(11, "UserNotFound", f"User '{name}@{database}' not found")
    if "pwd" in command:
        user["keys"] = _keys(command["pwd"])
    if "roles" in command:
        user["roles"] = _roles(command)


def told(known: dict[str, Document], asked: Any, database: str) -> list[Document]:
    """Return users without what is kept of their passwords."""
    if isinstance(asked, dict):
        keys = [f"{asked['db']}.{asked['user']}"]
    elif isinstance(asked, str):
        keys = [f"{database}.{asked}"]
    else:
        keys = [key for key, user in known.items() if user["db"] == database]
    shown = ("user", "db", "roles")
    return [
        {"_id": key, **{name: known[key][name] for name in shown}, "mechanisms": ["SCRAM-SHA-256"]}
        for key in keys
        if key in known
    ]


class Scram:
    """One login. An unknown name and a wrong password fail alike."""

    def __init__(self, known: dict[str, Document], database: str, payload: bytes) -> None:
        self._first = payload.decode().partition("n,,")[2]
        fields = _fields(self._first)
        name = fields["n"].replace("=2C", ",").replace("=3D", "=")
        found = known.get(f"{database}.{name}")
        if found is None:
            raise RefusedError(18, "AuthenticationFailed", "Authentication failed.")
        self.user = found
        self._nonce = fields["r"] + secrets.token_urlsafe(24)

    def challenge(self) -> bytes:
        """Return the server's first message."""
        salt = base64.b64encode(self.user["keys"]["salt"]).decode()
        return f"r={self._nonce},s={salt},i={_ITERATIONS}".encode()

    def check(self, payload: bytes) -> bytes:
        """Return the server's proof. Raises RefusedError for a wrong password."""
        last = payload.decode()
        fields, keys = _fields(last), self.user["keys"]
        signed = f"{self._first},{self.challenge().decode()},{last.rpartition(',p=')[0]}".encode()
        proof = base64.b64decode(fields["p"])
        signature = _hmac(bytes(keys["stored"]), signed)
        client = bytes(a ^ b for a, b in zip(proof, signature, strict=False))
        right = hmac.compare_digest(hashlib.sha256(client).digest(), bytes(keys["stored"]))
        if not right or fields["r"] != self._nonce:
            raise RefusedError(18, "AuthenticationFailed", "Authentication failed.")
        return b"v=" + base64.b64encode(_hmac(bytes(keys["server"]), signed))


def _fields(message: str) -> dict[str, str]:
    return dict(part.split("=", 1) for part in message.split(","))
