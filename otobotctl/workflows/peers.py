"""What a GPU host keeps to itself: the key that others of its name know it by, and its token of Hugging Face's.

They are sealed in the fleet as a client's secrets are, in hosts/<name>/. The key is minted when a host is applied.
"""

from __future__ import annotations

import os
from collections.abc import Mapping
from datetime import UTC, datetime
from typing import TYPE_CHECKING

from otobotctl import secrets
from otobotctl.errors import ManifestError
from otobotctl.secrets.mint import mint as minted

if TYPE_CHECKING:
    from otobotctl.manifest.resolved import ResolvedHost
    from otobotctl.workflows.desired import Loaded

SPEC = secrets.SecretSpec(
    "IA_PEER_KEY", "hex32", "ia-proxy", description="What the other hosts of its name know it by."
)

TOKEN = secrets.SecretSpec("HF_TOKEN", "given", "vllm", given=True, description="What Hugging Face knows the host by.")


def token(loaded: Loaded, host: ResolvedHost) -> secrets.Secret | None:
    """The host's token, where it runs vLLM and has one."""
    if host.gpu is None or host.gpu.engine != "vllm":
        return None
    if TOKEN.name not in {each.name for each in secrets.read_metadata(loaded.fleet.host(host.name))}:
        return None
    return secrets.open_store(loaded.fleet.host(host.name), secrets.identities()).values.get(TOKEN.name)


def mint(loaded: Loaded, host: ResolvedHost) -> None:
    """Mint and seal the keys of the hosts of its pool that have none; without a pool there is nothing to do."""
    for peer in host.pool:
        directory = loaded.fleet.host(peer.name)
        if SPEC.name in {each.name for each in secrets.read_metadata(directory)}:
            continue
        with secrets.locked(directory):
            store = secrets.open_store(directory, secrets.identities())
            if SPEC.name not in store.values:
                made = store.with_secret(SPEC, minted(SPEC.kind, os.urandom), datetime.now(UTC))
                secrets.save(directory, made, loaded.manifest.recipients)


def known(loaded: Loaded, host: ResolvedHost) -> Mapping[str, secrets.Secret]:
    """The keys of the hosts of its pool, by host. Raises ManifestError: one has none yet."""
    found = {}
    for peer in host.pool:
        store = secrets.open_store(loaded.fleet.host(peer.name), secrets.identities())
        if SPEC.name not in store.values:
            problem = f"{peer.name} has no key yet that the other hosts of its name would know it by"
            raise ManifestError(problem, hint=f"otobotctl gpu setup {host.name} mints it, and so does host apply")
        found[peer.name] = store.values[SPEC.name]
    return found
