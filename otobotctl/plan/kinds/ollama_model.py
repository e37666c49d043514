"""A language model of an Ollama on the host, fetched through its API."""

from __future__ import annotations

from typing import Annotated, Any, ClassVar, Literal

from msgspec import Meta

from otobotctl.plan.model import Change, Facts, Spec

OLLAMA = "http://127.0.0.1:11434"  # on its host, for the agent alone


class OllamaModelSpec(Spec, frozen=True, forbid_unknown_fields=True, kw_only=True):
    """The model `name`, with its tag, is there or is not.

    Nothing is fetched that the disk cannot hold beside `spare_mb`, or that the cards cannot hold (with `cpu`: the
    memory). A fetch that breaks off goes on where it was, here up to `tries` times, and at the next apply.
    """

    kind: ClassVar[str] = "ollama_model"

    name: Annotated[str, Meta(min_length=1)]
    state: Literal["present", "absent"] = "present"
    url: str = OLLAMA
    cpu: bool = False
    spare_mb: Annotated[int, Meta(ge=0)] = 2048
    tries: Annotated[int, Meta(ge=1)] = 5

    def question(self) -> dict[str, Any]:
        """Which model, and where."""
        return {"name": self.name, "url": self.url}

    def compare(self, facts: Facts) -> tuple[Change, ...]:
        """By whether it is there."""
        there = facts["size"] is not None
        if self.state == "present":
            return () if there else (Change(self.name, "absent", "fetched"),)
        return (Change(self.name, "there", "absent"),) if there else ()

    def title(self) -> str:
        """The model."""
        return self.name

    def commands(self) -> tuple[str, ...]:
        """Ollama's own, in its container."""
        verb = "pull" if self.state == "present" else "rm"
        return (f"docker exec otobot-front-ollama-1 ollama {verb} {self.name}",)


SPEC = OllamaModelSpec
