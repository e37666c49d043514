"""Waiting until something on the host answers."""

from __future__ import annotations

import os
import socket
import time
import urllib.error
import urllib.request
from typing import Any, Dict

from otobotctl.agent.run import Run, StepError
from otobotctl.agent.shell import ask

POLL_S = 0.5
ONE_TRY_S = 5.0


def probe(params: Dict[str, Any]) -> Dict[str, Any]:
    """Answer {"_ready": bool}."""
    return {"_ready": _trouble(params) == ""}


def apply(params: Dict[str, Any], run: Run) -> None:
    """Look twice a second until it is ready. Raises StepError with the last trouble after `timeout_s`."""
    until = time.monotonic() + params["timeout_s"]
    trouble = _trouble(params)
    while trouble:
        if time.monotonic() >= until:
            raise StepError("not ready after {:g} s: {}".format(params["timeout_s"], trouble))
        time.sleep(POLL_S)
        trouble = _trouble(params)
    run.say("ready")


def _trouble(params: Dict[str, Any]) -> str:
    """What is not ready yet; "" when it is."""
    if params.get("path") is not None:
        return "" if os.path.exists(params["path"]) else "{} does not exist".format(params["path"])
    if params.get("argv") is not None:
        status = ask(params["argv"]).status
        return "" if status == 0 else "{} ended with {}".format(params["argv"][0], status)
    if params.get("url") is not None:
        return _http_trouble(params["url"], params["status"])
    return _tcp_trouble(params["host"], params["port"])


def _tcp_trouble(host: str, port: int) -> str:
    try:
        socket.create_connection((host, port), timeout=ONE_TRY_S).close()
    except OSError as error:
        return "{} port {}: {}".format(host, port, error.strerror or error)
    return ""


class _NoRedirect(urllib.request.HTTPRedirectHandler):
    """A redirect is an answer of its own: its status is what is compared."""

    def redirect_request(self, *_args: Any) -> None:
        return None


def _http_trouble(url: str, wanted: int) -> str:
    # No proxy: what is asked runs on this host.
    opener = urllib.request.build_opener(urllib.request.ProxyHandler({}), _NoRedirect())
    try:
        with opener.open(url, timeout=ONE_TRY_S) as answer:
            status = answer.status
    except urllib.error.HTTPError as error:
        status = error.code
        error.close()
    except (OSError, ValueError) as error:
        return "{}: {}".format(url, error)
    return "" if status == wanted else "{} answers {}, not {}".format(url, status, wanted)
