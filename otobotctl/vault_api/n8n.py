"""Starts workflows: one POST to the client's own n8n, whose address is in the configuration and in no request."""

from __future__ import annotations

import json
from typing import TYPE_CHECKING, Any, Final
from urllib.parse import quote, urlsplit

from .errors import Problem
from .oauth.outbound import Fault, Outbound, OutboundError, Request

if TYPE_CHECKING:
    from collections.abc import Mapping

    from .configuration import Hidden

TOTAL_S: Final = 20.0
SECRET_HEADER: Final = "x-otobot-webhook-secret"  # noqa: S105 - the header's name


class N8n:
    """The client's n8n at `url`, such as http://n8n:5678; its webhooks want `secret`. Close it at the end."""

    def __init__(self, url: str, secret: Hidden | None = None) -> None:
        self._secret = secret
        parts = urlsplit(url)
        self._url = url.rstrip("/")
        # Its own door, opened for this one host: what providers are asked through stays shut for inner services.
        port = parts.port or (443 if parts.scheme == "https" else 80)
        self._outbound = Outbound(frozenset({f"{parts.hostname}:{port}"}))

    async def close(self) -> None:
        """Close what is open."""
        await self._outbound.close()

    async def trigger(self, webhook_path: str, content: Mapping[str, Any]) -> int:
        """Start the workflow behind a webhook path; return the status that n8n answered with, always below 300.

        Raises:
            Problem: 503, n8n was not asked (no address, not reachable); 502, it refused; 504, it did not say in time.
        """
        if not self._url:
            raise Problem(503, "workflows_unavailable", "No n8n is configured: set VAULT_N8N_URL")
        url = f"{self._url}/webhook/{quote(webhook_path)}"
        headers = {"content-type": "application/json"}
        if self._secret is not None:
            headers[SECRET_HEADER] = self._secret.reveal()
        try:
            answer = await self._outbound.send(
                Request("POST", url, headers, json.dumps(content).encode()), total_s=TOTAL_S
            )
        except OutboundError as error:
            raise _unanswered(error.fault) from None
        if answer.status >= 300:  # noqa: PLR2004
            raise Problem(502, "workflow_refused", f"n8n answered {answer.status}: is the workflow active?")
        return answer.status


def _unanswered(fault: Fault) -> Problem:
    if fault.unsent:
        return Problem(503, "workflows_unavailable", "n8n cannot be reached; nothing was started")
    if fault is Fault.TIMEOUT:
        return Problem(504, "workflow_timeout", "n8n did not answer in time; the workflow may have started")
    return Problem(502, "workflow_refused", "n8n's answer was broken; the workflow may have started")
