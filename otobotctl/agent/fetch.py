"""Fetches a small file over HTTP, for kinds that check what they got."""

from __future__ import annotations

import http.client
import time
import urllib.error
import urllib.request

from otobotctl.agent.run import StepError

TRIES = 3
TIMEOUT_S = 30


def fetch(url: str, limit_bytes: int = 1 << 20) -> bytes:
    """What `url` answers, at most `limit_bytes`. Raises StepError after three tries."""
    request = urllib.request.Request(url, headers={"User-Agent": "otobotctl"})
    reason = ""
    for attempt in range(TRIES):
        time.sleep(attempt)
        try:
            with urllib.request.urlopen(request, timeout=TIMEOUT_S) as answer:
                data: bytes = answer.read(limit_bytes + 1)
        except urllib.error.HTTPError as error:
            error.close()
            reason = "HTTP status {}".format(error.code)
        except (OSError, http.client.HTTPException) as error:
            reason = str(getattr(error, "reason", error))
        else:
            if len(data) > limit_bytes:
                raise StepError("{} is larger than {} bytes".format(url, limit_bytes))
            return data
    raise StepError("cannot fetch {}: {}; check the host's network, or put the key itself in `key`".format(url, reason))
