"""How a request is refused: one shape of answer, with a code that programs may test for."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any


class Problem(Exception):  # noqa: N818 - a refusal is an answer, not a defect
    """An answer other than the asked-for one. `message` and `details` never quote what was sent.

    `extra` are fields that the answer carries beside `error`, `code` and `details`.
    """

    def __init__(
        self,
        status: int,
        code: str,
        message: str,
        details: tuple[str, ...] = (),
        *,
        headers: Mapping[str, str] | None = None,
        extra: Mapping[str, Any] | None = None,
    ) -> None:
        super().__init__(code)
        self.status = status
        self.code = code
        self.message = message
        self.details = details
        self.headers = dict(headers or {})
        self.extra = dict(extra or {})

    def body(self) -> dict[str, Any]:
        """The answer as a JSON object."""
        found: dict[str, Any] = {"error": self.message, "code": self.code}
        if self.details:
            found["details"] = list(self.details)
        return found | self.extra


def invalid(*details: str) -> Problem:
    """400: the request is not of the documented form."""
    return Problem(400, "invalid_request", "Invalid request", details)


def unauthorized() -> Problem:
    """401: no credential, or not a valid one."""
    return Problem(401, "unauthorized", "Unauthorized")


def forbidden(code: str, message: str, *details: str) -> Problem:
    """403: who asks is known, and may not."""
    return Problem(403, code, message, details)


def missing(what: str) -> Problem:
    """404: it is not there, or not the caller's: the same words for both. `what` is a word such as `user`."""
    return Problem(404, f"{what}_not_found", f"{what.replace('_', ' ').capitalize()} not found")


def taken(what: str) -> Problem:
    """409: there is one already."""
    return Problem(409, f"{what}_exists", f"{what.replace('_', ' ').capitalize()} exists already")


def too_many(after_s: int) -> Problem:
    """429: try again in `after_s` seconds."""
    return Problem(
        429, "too_many_requests", "Too many requests, try again later", headers={"retry-after": str(max(1, after_s))}
    )


def unavailable(after_s: int = 1) -> Problem:
    """503: the vault cannot answer now; nothing was done."""
    text = "The vault cannot answer now, try again"
    return Problem(503, "unavailable", text, headers={"retry-after": str(after_s)})


def too_large(limit: int) -> Problem:
    """413: the body is larger than `limit` bytes."""
    return Problem(413, "too_large", f"The body may hold {limit} bytes at most")


def unexpected() -> Problem:
    """500: a defect; the log has its type and place."""
    return Problem(500, "internal_error", "Internal error")
