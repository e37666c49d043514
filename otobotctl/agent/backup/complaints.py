"""What restic complains of: its words on stderr and its exit status, as kinds that a remedy can be given for."""

from __future__ import annotations

import json
from typing import Sequence

from otobotctl.agent.run import last_words

# What restic says on stderr, by version: the exit codes 10, 11 and 12 exist since 0.17.
_SIGNS = (
    ("password", ("wrong password", "no key found")),
    ("locked", ("already locked",)),
    ("full", ("no space left", "disk quota exceeded", "quota exceeded", "Insufficient Storage")),
    (
        "denied",
        (
            "403 Forbidden",
            "401 Unauthorized",
            "Access Denied",
            "ermission denied",
            "InvalidAccessKeyId",
            "SignatureDoesNotMatch",
            "Access Key Id you provided",  # of S3, restic shows the words and not the code
            "request signature we calculated",
            "Host key verification failed",
        ),
    ),
    (
        "unreachable",
        (
            "connection refused",
            "no route to host",
            "i/o timeout",
            "no such host",
            "Connection timed out",
            "connection reset",
            "etwork is unreachable",
            "Could not resolve",
            "unable to start the sftp session",
            "Connection closed",
            "TLS handshake",
            "x509:",
            "context deadline exceeded",
        ),
    ),
    ("absent", ("Is there a repository", "does not exist", "no such file or directory")),
    ("damaged", ("hash mismatch", "ciphertext verification failed", "pack ", "index ")),
)
_CODES = {10: "absent", 11: "locked", 12: "password"}


class ResticError(Exception):
    """restic did not do it; the text holds no secret.

    `kind`: password, locked, full, unreachable, denied, absent, damaged, slow (it was ended) or other.
    """

    said = ""  # all of restic's own words, without its credentials

    def __init__(self, kind: str, message: str) -> None:
        super().__init__(message)
        self.kind = kind


def complaint(what: str, target: str, status: int, said: bytes, secrets: Sequence[str]) -> ResticError:
    """What restic's end with this status means; none of `secrets` is in it."""
    text = said.decode("utf-8", "replace")
    for secret in secrets:
        text = text.replace(secret, "***")
    kind = _CODES.get(status) or next((kind for kind, signs in _SIGNS if any(sign in text for sign in signs)), "other")
    last = last_words("\n".join(_message(line.strip()) for line in text.splitlines()).encode())
    error = ResticError(kind, "restic {} ended with {} on {}: {}".format(what, status, target, last))
    error.said = text
    return error


def _message(line: str) -> str:
    """What a line says: with --json, newer ones say errors in JSON too."""
    if not line.startswith("{"):
        return line
    try:
        found = json.loads(line)
    except ValueError:
        return line
    error = found.get("error")
    return str(found.get("message") or (error.get("message") if isinstance(error, dict) else error) or line)
