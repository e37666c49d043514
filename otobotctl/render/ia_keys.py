"""The keys that clients show IA Interne: what they are called, how old they may get, and which of them it accepts."""

from __future__ import annotations

import hashlib
import json
from collections.abc import Mapping
from typing import TYPE_CHECKING

from otobotctl.errors import ManifestError
from otobotctl.secrets import SecretSpec, previous

if TYPE_CHECKING:
    from otobotctl.manifest.models import Gpu
    from otobotctl.manifest.resolved import ResolvedClient
    from otobotctl.secrets import Secret

KEY = "IA_INTERNE_API_KEY"  # what LibreChat shows
CHAT = "librechat"
_DAYS = 180


def key_name(purpose: str) -> str:
    """Return the name of the secret of a client that is its key for this purpose."""
    return KEY if purpose == CHAT else f"{KEY}_{purpose.upper()}"


def spec(slug: str, purpose: str) -> SecretSpec:
    """Return what is known of a client's key for a purpose; of the key of a service of its own, that one says it."""
    described = f"What {slug} shows IA Interne to be let in, for {purpose}."
    because = f"IA Interne has to know the new one first: otobotctl gpu keys rotate {slug} --purpose {purpose}"
    return SecretSpec(
        key_name(purpose), "hex32", "ia", _DAYS, description=described, rotation="refused", because=because
    )


def specs(client: ResolvedClient) -> tuple[SecretSpec, ...]:
    """Return the secrets with which a client may ask IA Interne, one a purpose."""
    return tuple(spec(client.slug, purpose) for purpose in sorted(client.ia))


def key_list(gpu: Gpu, stores: Mapping[str, Mapping[str, Secret]]) -> str:
    """Return the list of accepted keys, as JSON: their SHA-256 alone. `stores` are the clients' secrets, by slug.

    While a key is rotated, the value before is accepted beside the new one.

    Raises:
        ManifestError: a caller has no key yet.
    """
    callers = []
    for slug, caller in sorted(gpu.callers.items()):
        for purpose in sorted(caller.purposes):
            name, known = key_name(purpose), stores.get(slug, {})
            if name not in known or not known[name].reveal():
                raise ManifestError(
                    f"{slug} has no key for {purpose} yet", hint=f"otobotctl gpu keys add {slug} --purpose {purpose}"
                )
            values = [known[each].reveal() for each in (name, previous(name)) if each in known]
            digests = [hashlib.sha256(value.encode()).hexdigest() for value in values if value]
            said = {"name": slug, "purpose": purpose, "sha256": digests, "per_minute": caller.per_minute}
            callers.append(said)
    return json.dumps({"callers": callers}, indent=1) + "\n"
