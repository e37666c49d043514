"""Waiting until something on the host answers."""

from __future__ import annotations

import os
import time
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
    import socket

    try:
        socket.create_connection((host, port), timeout=ONE_TRY_S).close()
    except OSError as error:
        return "{} port {}: {}".format(host, port, error.strerror or error)
    return ""


def _http_trouble(url: str, wanted: int) -> str:
    import http.client  # slow to import; a redirect is an answer here, and no proxy stands before this host itself
    import urllib.parse

    parts = urllib.parse.urlsplit(url)
    kind = http.client.HTTPSConnection if parts.scheme == "https" else http.client.HTTPConnection
    target = (parts.path or "/") + ("?" + parts.query if parts.query else "")
    try:
        connection = kind(parts.hostname or "", parts.port, timeout=ONE_TRY_S)
        connection.request("GET", target, headers={"User-Agent": "otobotctl", "Connection": "close"})
        status = connection.getresponse().status
        connection.close()
    except (OSError, http.client.HTTPException) as error:
        return "{}: {}".format(url, error)
    return "" if status == wanted else "{} answers {}, not {}".format(url, status, wanted)
