"""`gpu token`: what Hugging Face lets a host with vLLM fetch models by that not everybody may have."""

from __future__ import annotations

from dataclasses import dataclass
from datetime import UTC, datetime
from typing import TYPE_CHECKING

from otobotctl import secrets
from otobotctl.errors import UsageError
from otobotctl.workflows.desired import load
from otobotctl.workflows.gpu.hosts import gpu_of
from otobotctl.workflows.peers import TOKEN

if TYPE_CHECKING:
    from otobotctl.fleet import Fleet


@dataclass(frozen=True)
class Token:
    """A host's token: whether there is one now, and what is to be done next."""

    host: str
    there: bool
    next: str


def set_token(fleet: Fleet, name: str, value: str) -> Token:
    """Seal a token for a host, "" for none any more. Raises UsageError: it runs no vLLM, or that is no token."""
    loaded = load(fleet)
    if gpu_of(loaded, name).engine != "vllm":
        raise UsageError(f"{name} runs no vLLM", hint=f"otobotctl gpu setup {name} --engine vllm --model OWNER/NAME")
    if value and not (value.isascii() and value.isprintable() and " " not in value):
        raise UsageError("that is no token: it has blanks, or what cannot be seen", hint="give it on stdin, alone")
    directory = fleet.host(name)
    with secrets.locked(directory):
        store = secrets.open_store(directory, secrets.identities())
        if value:
            store = secrets.set_given(store, TOKEN, value, datetime.now(UTC))
        elif TOKEN.name in store.values:
            store = store.without(TOKEN.name)
        secrets.save(directory, store, loaded.manifest.recipients)
    return Token(name, bool(value), f"otobotctl host apply {name}")
