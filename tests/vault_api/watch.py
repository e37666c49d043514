"""What the vaults of a whole test run write, searched at its end for every secret that the run gave them or got."""

from __future__ import annotations

import json
import logging
import os
import re
import subprocess
from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from pathlib import Path
from typing import Any

import pytest

from otobotctl.vault_api.logs import JsonFormatter
from scripts.story import vault
from tests.vault_api.leaks.search import SHORTEST, leaks

_VARIABLE = re.compile(
    r"[A-Z0-9_]*(TOKEN|KEY|SECRET|PASSWORD)(_PREVIOUS(_[0-9]+)?)?|VAULT_ALERT_WEBHOOK|VAULT_REDIS_URL"
)
_FIELDS = frozenset(
    [
        "password",
        "newPassword",
        "accessToken",
        "refreshToken",
        "apiKey",
        "clientSecret",
        "token",
        "secret",
        "uri",
        "key",
        "recoveryCodes",
    ]
)


class Watch:
    """Knows logs and secrets; `findings` are the secrets that stand in the logs."""

    def __init__(self, directory: Path) -> None:
        self._directory = directory
        self.secrets: dict[str, str] = {}  # value -> name
        self.logs: dict[Path, Path] = {}  # and where its content is still found when a test has cleared it away
        self.texts: list[bytes] = []

    def environment(self, given: Mapping[str, str]) -> None:
        """A process's environment."""
        for name, value in given.items():
            if _VARIABLE.fullmatch(name):
                self._know(name, value)

    def keep(self, log: Path) -> None:
        """A log that is there and will be written to."""
        if log not in self.logs:
            self.logs[log] = self._directory / str(len(self.logs))
            os.link(log, self.logs[log])

    def told(self, said: Any, name: str = "") -> None:
        """A body or an answer, as data."""
        if isinstance(said, Mapping):
            for each, value in said.items():
                self.told(value, each)
        elif isinstance(said, list):
            for value in said:
                self.told(value, name)
        elif isinstance(said, str) and name in _FIELDS:
            self._know(name, said)

    def _know(self, name: str, value: str) -> None:
        if len(value) >= SHORTEST:
            self.secrets.setdefault(value, f"{name} {len(self.secrets)}")

    def findings(self) -> list[str]:
        """Where which secret stands."""
        places = {str(log): kept.read_bytes() for log, kept in self.logs.items()}
        places["said by commands and in this process"] = b"\n".join(self.texts)
        secrets = {name: value for value, name in self.secrets.items()}
        together = {"everything": b"\n".join(places.values())}
        return leaks(places, secrets) if leaks(together, secrets) else []


class _Handler(logging.Handler):
    def __init__(self, watch: Watch) -> None:
        super().__init__(logging.DEBUG)
        self._watch = watch
        self.setFormatter(JsonFormatter())

    def emit(self, record: logging.LogRecord) -> None:
        self._watch.texts.append(self.format(record).encode())


def _is_vault(argv: Any) -> bool:
    return not isinstance(argv, str | bytes | Path) and "otobotctl.vault_api" in map(str, argv)


@contextmanager
def watching(directory: Path) -> Iterator[Watch]:
    """Watch every vault that is started or asked until the end of the block; `directory`: on the logs' file system."""
    watch = Watch(directory)
    start, ask, run = subprocess.Popen.__init__, vault.Vault.ask, subprocess.run

    def started(self: Any, argv: Any, *more: Any, **named: Any) -> None:
        if _is_vault(argv):
            watch.environment(named.get("env") or {})
            names = (getattr(named.get(stream), "name", None) for stream in ("stdout", "stderr"))
            for name in names:
                if isinstance(name, str):
                    watch.keep(Path(name))
        start(self, argv, *more, **named)

    def asked(self: vault.Vault, path: str, method: str = "GET", **more: Any) -> vault.Answer:
        body = more.get("body")
        if isinstance(body, bytes):
            try:
                body = json.loads(body)
            except (ValueError, RecursionError):
                body = None
        watch.told(body)
        answer = ask(self, path, method, **more)
        watch.told(answer.body)
        return answer

    def ran(argv: Any, *more: Any, **named: Any) -> Any:
        done = run(argv, *more, **named)
        # What `call` says are answers, to whoever asked.
        if _is_vault(argv) and "call" not in argv:
            said = (part for part in (done.stdout, done.stderr) if part)
            watch.texts += [part.encode() if isinstance(part, str) else part for part in said]
        return done

    handler, logger = _Handler(watch), logging.getLogger("vault")
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(subprocess.Popen, "__init__", started)
        patch.setattr(vault.Vault, "ask", asked)
        patch.setattr(subprocess, "run", ran)
        logger.addHandler(handler)
        try:
            yield watch
        finally:
            logger.removeHandler(handler)
