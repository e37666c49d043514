"""The password of a client's backup repositories, exchanged on every target by the client's own host."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

from otobotctl import person
from otobotctl.agent.protocol import VERSION, ProofRequest
from otobotctl.errors import StepFailedError
from otobotctl.workflows import converging

if TYPE_CHECKING:
    from collections.abc import Callable

    from otobotctl.converge.model import Password
    from otobotctl.secrets import Secret
    from otobotctl.workflows.desired import Loaded

HOW = "repositories"  # SecretSpec.rotation


class Repositories:
    """One client's. Every call is one execution on its host, and may be made again whatever came of it before."""

    def __init__(self, loaded: Loaded, slug: str, tell: Callable[[str], None], password: Password | None) -> None:
        self._loaded, self._slug, self._tell, self._password = loaded, slug, tell, password

    def let_in(self, new: Secret, by: Secret, hint: str) -> None:
        """Have `new` open every repository that there is; `by` opens those that it does not yet.

        Raises:
            StepFailedError: one does not know it; those before it in the list may.
            LockedError: a run works on them.
        """
        found = self._ask("add", new, by)
        self._check(found, f"not every repository of {self._slug} could be given the new {new.name}", hint)
        if added := [each["target"] for each in found if each["state"] == "added"]:
            self._tell(f"the new {new.name} opens {', '.join(added)} too")

    def opens(self, value: Secret) -> bool:
        """Whether it opens every repository that there is. Raises StepFailedError: one of them does not answer."""
        found = self._ask("look", value)
        hint = f"see docs/backups.md, when something fails; then: otobotctl secrets rotate {self._slug} --resume"
        self._check(found, f"not every repository of {self._slug} says whether {value.name} opens it", hint)
        return all(each["state"] != "closed" for each in found)

    def let_go(self, old: Secret, by: Secret) -> tuple[str, ...]:
        """Have `old` open nothing any more, now that `by` opens everything; return what a person has to do for that.

        Raises:
            StepFailedError: one still knows it, or does not know `by`; nothing was removed there.
            LockedError: a run works on them.
        """
        found = self._ask("remove", old, by)
        hint = f"otobotctl secrets rotate {self._slug} --resume"
        self._check(found, f"not every repository of {self._slug} could let go of the former key", hint)
        return tuple(
            f"{each['target']} is append-only: with credentials that may delete there, run: "
            f"restic key remove {each['id']}"
            for each in found
            if each["state"] == "kept"
        )

    def _ask(self, do: str, value: Secret, by: Secret | None = None) -> list[dict[str, Any]]:
        from otobotctl.converge import backups

        who = f"{person.name()} (the key of {self._slug}'s repositories: {do})"
        asked = {"do": do, "value": value.reveal(), "by": by.reveal() if by is not None else ""}
        request = ProofRequest(version=VERSION, op="proof", who=who, client=self._slug, word="rekey", asked=asked)
        opener = converging.opener(self._loaded, self._loaded.manifest.client(self._slug).host)
        told = backups.records(opener, request, [self._slug], self._password)
        return [record["key"] for record in told if "key" in record]

    def _check(self, found: list[dict[str, Any]], message: str, hint: str) -> None:
        failed = [each for each in found if each["error"]]
        if failed:
            lines = [f"{each['target']}: {each['error']['message']}" for each in failed]
            lines.append(failed[0]["error"]["remedy"])
            raise StepFailedError(message, hint=hint, details=lines)
