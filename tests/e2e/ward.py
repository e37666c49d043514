"""A host with a client on it that is broken and put right, and how the doctor tells of it."""

from __future__ import annotations

import json
from collections.abc import Sequence
from typing import Any

from tests.e2e.breaking import Patient, ill
from tests.e2e.deployed import DOMAIN, eventually
from tests.e2e.told import Told, ailing, unheard
from tests.lab.host import Host

NAMES = (DOMAIN, f"n8n.{DOMAIN}", f"app.{DOMAIN}")
LIMIT_S = 240
_PAUSE_S = 2  # a look takes two seconds of a processor, which what is waited for needs


class Ward:
    """The host, its operator, and what a healthy one is told as."""

    def __init__(self, host: Host, operator: Patient) -> None:
        self.host, self.operator = host, operator

    def point(self, address: str = "", names: Sequence[str] = NAMES) -> None:
        """Let these names of the client lead to this address; default: all, to the host."""
        self.operator.resolve(*(f"{address or self.host.address} {name}" for name in names))

    def hears(self, *wanted: Told, beside: Sequence[tuple[str, str]] = (), limit_s: float = LIMIT_S) -> dict[str, Any]:
        """The answer that has all of these findings, and nothing that somebody must act on beside them and `beside`."""
        found: dict[str, Any] = {}

        def said() -> bool:
            done = self.operator.run("doctor", "--json", check=False)
            (host,) = json.loads(done.stdout)["data"]["hosts"]
            found.update(host, code=done.returncode)
            # What was broken for another finding may take a moment to be only that again.
            return not unheard(found, *wanted) and ill(found) - ailing(wanted) <= set(beside)

        try:
            eventually(said, limit_s, _PAUSE_S)
        except AssertionError:
            raise AssertionError(f"unheard: {unheard(found, *wanted)}\nheard: {found.get('findings')}") from None
        assert found["code"] == (4 if ill(found) else 0)
        return found

    def is_well(self) -> bool:
        """Whether the doctor finds nothing; containers that were broken may need a moment."""
        done = self.operator.run("doctor", "--json", check=False)
        self.told = json.loads(done.stdout)["data"]["hosts"][0]["findings"]
        return done.returncode == 0

    def recovers(self) -> None:
        """It is well again, in time."""
        try:
            eventually(self.is_well, LIMIT_S, _PAUSE_S)
        except AssertionError:
            raise AssertionError(f"still: {self.told}") from None
