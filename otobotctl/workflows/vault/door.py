"""The way to a client's vault: requests made inside its container, with the token that only it has."""

from __future__ import annotations

import json
from dataclasses import replace
from typing import TYPE_CHECKING, Any

from otobotctl import person
from otobotctl.errors import OtobotError, StepFailedError, UsageError
from otobotctl.render import layout
from otobotctl.workflows import converging
from otobotctl.workflows.desired import load

if TYPE_CHECKING:
    from collections.abc import Callable, Sequence

    from otobotctl.converge.inside import Place
    from otobotctl.converge.model import Password
    from otobotctl.fleet import Fleet

_PROGRAM = ("python", "-m", "vault_api")
_REFUSED, _NOT_THERE, _TOO_OFTEN, _UNREACHABLE = 400, 404, 429, 500
_THINGS = {"users": "user", "connections": "connection", "oauth-apps": "app", "api-keys": "apikey"}  # by path


class VaultDoor:
    """A client's vault. Every call is one remote execution, however many requests it makes."""

    def __init__(self, fleet: Fleet, slug: str, password: Password | None = None) -> None:
        from otobotctl.converge.inside import Place

        loaded = load(fleet)
        client = loaded.manifest.client(slug)
        if "vault-api" not in client.services:
            raise UsageError(f"{slug} has no vault", hint=f"add vault-api to clients.{slug}.services")
        self.slug = slug
        self.host = client.host
        self.services = client.services
        opener = converging.opener(loaded, client.host)
        self._place: Place = Place(opener, layout.project(slug), "vault-api", slug, password)

    def ask(self, method: str, path: str, body: Any = None) -> Any:
        """Make one request and return its answer's body."""
        return self.ask_all([(method, path, body)])[0]

    def ask_all(self, requests: Sequence[tuple[str, str, Any]]) -> list[Any]:
        """Make requests one after the other and return their answers' bodies.

        Raises:
            UsageError: the vault refused one; its own words say why.
            StepFailedError: it is not there, or could not answer.
        """
        wanted = [{"method": method, "path": path, "body": body} for method, path, body in requests]
        said = self.run("call", "--operator", person.name(), stdin=json.dumps(wanted))
        answers = [json.loads(line) for line in said.splitlines()]
        for (method, path, _), answer in zip(requests, answers, strict=False):
            if answer["status"] >= _REFUSED:
                raise self._refusal(f"{method} {path.partition('?')[0]}", answer)
        if len(answers) != len(requests):
            raise self._silent(())
        return [answer["body"] for answer in answers]

    def run(
        self,
        *arguments: str,
        stdin: str = "",
        failing: bool = False,
        service: str = "vault-api",
        heard: Callable[[bytes], None] | None = None,
    ) -> bytes:
        """Run a command of the vault's own program and return its stdout.

        `failing`: it may end with 1; `service`: in whose container; `heard` gets each line of stdout as it comes.

        Raises:
            StepFailedError: the program failed; its last lines are the details.
        """
        from otobotctl.converge import inside

        said = inside.run(replace(self._place, service=service), (*_PROGRAM, *arguments), stdin, heard)
        if said.status and not (failing and said.status == 1 and said.stdout):
            raise self._silent(said.stderr)
        return said.stdout

    def _silent(self, details: Sequence[str]) -> StepFailedError:
        message, hint = f"the vault of {self.slug} did not answer", f"otobotctl status {self.host}"
        return StepFailedError(message, hint=hint, details=details)

    def _refusal(self, what: str, answer: dict[str, Any]) -> OtobotError:
        body = answer["body"] or {}
        details = tuple(body.get("details", ()))
        if answer["status"] >= _UNREACHABLE:
            said = f"the vault of {self.slug}: {body.get('error', 'no answer')}"
            return StepFailedError(said, hint=f"otobotctl status {self.host}", details=details)
        message = f"the vault of {self.slug} refuses: {body.get('error', answer['status'])}"
        thing = _THINGS.get(what.partition("/api/admin/")[2].partition("/")[0])
        hint = f"otobotctl vault {thing} list {self.slug}" if thing and answer["status"] == _NOT_THERE else None
        if answer["status"] == _TOO_OFTEN:
            hint = "wait a minute, then run the command again"
        return UsageError(message, hint=hint, details=(*details, what))
