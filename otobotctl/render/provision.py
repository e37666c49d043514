"""What a service prepares once it is healthy: a template's list, with secrets, checked."""

from __future__ import annotations

import json
from typing import TYPE_CHECKING, Any

from otobotctl.errors import ManifestError
from otobotctl.render import engine
from otobotctl.render.release import RenderedProvision

if TYPE_CHECKING:
    from otobotctl.render.catalog import Catalog
    from otobotctl.render.project import Part
    from otobotctl.render.service import Provision


def rendered(part: Part, said: Provision, catalog: Catalog) -> RenderedProvision:
    """Return the items that `said` of a service means.

    Its template sees `files`: the texts of the service's plain JSON files, by their path in its folder.

    Raises:
        ManifestError: the template is wrong, or what it gives; no value of it is in the message.
    """
    name = f"{part.service.name}/{said.items}"
    plain = catalog.plain_files(part.service.name)
    files = {path: content.decode() for path, content in plain.items() if path.endswith(".json")}
    text = engine.render(catalog, name, {**part.variables, "secrets": part.secrets, "files": files})
    items = _parse(text, name)
    return RenderedProvision(part.service.name, said.program, tuple(map(_canonical, items)), said.kept, said.remedy)


def _parse(text: str, name: str) -> list[dict[str, Any]]:
    where = f"templates/services/{name}"
    try:
        items = json.loads(text)
    except ValueError as error:  # not chained: its document holds secrets
        line = getattr(error, "lineno", 0)
        raise ManifestError(f"{where}: gives no JSON (line {line} of what it gives)") from None
    needed = {"name", "kind", "id"}
    if not isinstance(items, list) or not all(isinstance(item, dict) and needed <= item.keys() for item in items):
        raise ManifestError(f"{where}: must give a list of objects, each with a name, a kind and an id")
    names = [item["name"] for item in items]
    if len({*names}) != len(names):
        raise ManifestError(f"{where}: gives two items of one name")
    return items


def _canonical(item: dict[str, Any]) -> str:
    return json.dumps(item, sort_keys=True, ensure_ascii=False, separators=(",", ":"))
