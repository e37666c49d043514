"""What runs is what the fleet says, has no published vulnerability, and is not behind this installation's versions."""

from __future__ import annotations

from collections.abc import Iterator

from otobotctl.doctor.model import Case, Check, Finding
from otobotctl.render import layout, versions


def judge(case: Case) -> Iterator[Finding]:
    """By each container's own image. No registry is asked: what is newer is what `templates/` knows."""
    slugs = {layout.project(client.slug): client.slug for client in case.clients}
    slugs[layout.project(layout.FRONT)] = layout.FRONT
    for each in (case.facts or {})["containers"]:
        client, service = slugs.get(each["project"], ""), each["service"]
        if client and not each["once"] and each["state"] == "running":
            yield from _of(case, client, service, each["image"])


def _of(case: Case, client: str, service: str, image: str) -> Iterator[Finding]:
    subject = f"{client}/{service}"
    front = client == layout.FRONT
    deploy = f"otobotctl host apply {case.host.name}" if front else f"otobotctl client deploy {client}"
    wanted = case.wanted.images.get(client, {}).get(service)
    if wanted and wanted != image:
        yield Finding("warning", subject, f"runs {image}, and the fleet says {wanted}", deploy)
    template = case.catalog.services.get(service)
    running = versions.numbers(image.rpartition(":")[2])
    if template is None or template.build or not running:
        return
    bad = [row for row in case.catalog.known_bad.get(service, ()) if row.holds(running)]
    newest = str(template.settings["version"].default) if "version" in template.settings else ""
    where = f"clients.{client}.settings" if not front else "defaults.settings"
    remedy = f"set {where}.{service}.version to {newest}, then {deploy}"
    if bad:
        said = "; ".join(f"{row.advisory}: {row.why}" for row in bad[:2])
        seen = (
            f"{image.rpartition(':')[2]} has {len(bad)} published vulnerabilit{'ies' if len(bad) > 1 else 'y'} ({said})"
        )
        yield Finding("warning", subject, seen, remedy)
    elif versions.numbers(newest) > running:
        yield Finding("info", subject, f"runs {image.rpartition(':')[2]}; {newest} is newer", remedy)


CHECK = Check("images", "What runs is what the fleet says, and is not behind.", judge)
