"""IA Interne on a GPU host: its release, the list of keys that it accepts, and whose secrets those are."""

from __future__ import annotations

import hashlib
import json
from collections.abc import Mapping, Sequence
from typing import TYPE_CHECKING, Any, get_args

from otobotctl.errors import ManifestError
from otobotctl.manifest.models import Engine
from otobotctl.render import layout, pool
from otobotctl.render.engine import NoSecrets
from otobotctl.render.project import Part, render_project
from otobotctl.render.settings import chosen
from otobotctl.secrets import previous

if TYPE_CHECKING:
    from otobotctl.manifest.models import Gpu
    from otobotctl.manifest.resolve import ResolvedHost
    from otobotctl.render.catalog import Catalog
    from otobotctl.render.release import RenderedRelease
    from otobotctl.secrets import Secret

KEY = "IA_INTERNE_API_KEY"  # what LibreChat shows
CHAT = "librechat"
ENGINES: tuple[str, ...] = get_args(Engine)  # one of them runs: each wants the cards' memory for itself


def render_ia(host: ResolvedHost, gpu: Gpu, clients: Sequence[Mapping[str, Any]], catalog: Catalog) -> RenderedRelease:
    """Return the release of the services of a GPU host.

    `clients` are those that live there, as render/sites.py describes them: its proxy serves their names too.

    Raises:
        ManifestError: a setting does not fit, or one of the clients has IA Interne's own name.
    """
    for client in clients:
        if gpu.domain in client["names"]:
            raise ManifestError(
                f"hosts.{host.name}.gpu.domain: {gpu.domain} is a name of clients.{client['slug']}, who lives there",
                hint=f"give one of them another domain: otobotctl gpu setup {host.name} --domain ...",
            )
    parts = []
    engine = catalog.service(gpu.engine)
    upstream = f"{gpu.engine}:{engine.ports['http'].container}"
    for name in catalog.stack(host.stack).host_services:
        if name in ENGINES and name != gpu.engine:
            continue
        service = catalog.service(name)
        settings = chosen(service, (gpu.settings.get(name, {}),), f"hosts.{host.name}.gpu.settings")
        image = catalog.image(service, settings["version"])
        variables = {
            "host": host,
            "gpu": gpu,
            "clients": clients,
            "settings": settings,
            "image": image,
            "alias": name,
            "upstream": upstream,
            "engines": {name: name in {gpu.engine, *(peer.engine for peer in host.pool)} for name in ENGINES},
            "peers": pool.server_name(gpu.domain),
            "own_authority": True,
        }
        each = {client["slug"]: {"client": client, "sites": client["sites"]} for client in clients}
        parts.append(Part(service, image, 0, NoSecrets(name), variables, each))
    return render_project(layout.FRONT, parts, catalog)


def key_name(purpose: str) -> str:
    """Return the name of the secret of a client that is its key for this purpose."""
    return KEY if purpose == CHAT else f"{KEY}_{purpose.upper()}"


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
