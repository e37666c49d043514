"""IA Interne on a GPU host: its release."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import TYPE_CHECKING, Any, get_args

from otobotctl.errors import ManifestError
from otobotctl.manifest.models import Engine
from otobotctl.render import layout, pool
from otobotctl.render.engine import NoSecrets
from otobotctl.render.project import Part, render_project
from otobotctl.render.settings import chosen

if TYPE_CHECKING:
    from otobotctl.manifest.models import Gpu
    from otobotctl.manifest.resolved import ResolvedHost
    from otobotctl.render.catalog import Catalog
    from otobotctl.render.release import RenderedRelease

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
