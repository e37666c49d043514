"""The way to a client's n8n: its own programs, run in its container."""

from __future__ import annotations

import json
from typing import TYPE_CHECKING, Any

from otobotctl.errors import StepFailedError, UsageError
from otobotctl.render import layout
from otobotctl.workflows import converging, secrets
from otobotctl.workflows.desired import load

if TYPE_CHECKING:
    from collections.abc import Iterable, Mapping

    from otobotctl.converge.inside import Place
    from otobotctl.converge.model import Password
    from otobotctl.fleet import Fleet

_PROGRAM = ("node", "/otobot/workflows.js")


class N8nDoor:
    """A client's n8n. Every call is one remote execution."""

    def __init__(self, fleet: Fleet, slug: str, password: Password | None = None) -> None:
        from otobotctl.converge.inside import Place

        self._loaded = load(fleet)
        self._client = self._loaded.manifest.client(slug)
        if "n8n" not in self._client.services:
            raise UsageError(f"{slug} has no n8n", hint=f"add n8n to clients.{slug}.services")
        opener = converging.opener(self._loaded, self._client.host)
        self._place: Place = Place(opener, layout.project(slug), "n8n", slug, password)

    def workflows(self) -> list[dict[str, Any]]:
        """Every workflow, by id, with the fields that its content is made of and `active`."""
        return self._run("export", "")

    def store(self, workflows: Iterable[Mapping[str, Any]], active: Mapping[str, bool]) -> list[dict[str, Any]]:
        """Store workflows under their ids and switch those in `active`; return {id, why, missing} of each.

        `why` is "" or why it failed; `missing` are the names of credentials that this n8n does not have.
        """
        wanted = {"items": self._items(), "workflows": list(workflows), "active": dict(active)}
        return self._run("import", json.dumps(wanted))

    def _items(self) -> list[dict[str, Any]]:
        """What a deploy prepares there: the program finds in it whom to log in as."""
        from otobotctl.render.client import render_client

        host = self._loaded.manifest.host(self._client.host)
        store = secrets.opened(self._loaded, self._client.slug)
        release = render_client(self._client, host, self._client.index, store, self._loaded.catalog)
        return [json.loads(text) for each in release.provisions if each.service == "n8n" for text in each.items]

    def _run(self, command: str, stdin: str) -> list[dict[str, Any]]:
        from otobotctl.converge import inside

        said = inside.run(self._place, (*_PROGRAM, command), stdin)
        if said.status:
            raise StepFailedError(
                f"the n8n of {self._client.slug} did not answer",
                hint=f"otobotctl client deploy {self._client.slug}",
                details=said.stderr,
            )
        return [json.loads(line) for line in said.stdout.splitlines()]
