"""Which services of a project get new containers, and how long each will not answer meanwhile."""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from typing import Any

from otobotctl.render import patience

STATELESS = "otobot.drain"  # a label of render/compose.py
_GRACE_S = 10  # Docker's own, until a container that was told to stop is killed


def replaced(before: str, after: str, took_s: Mapping[str, float]) -> Iterator[tuple[str, str]]:
    """Yield each service of two compose.yaml that differs in them, and in words for how long it is away.

    `took_s` is how long each took to be healthy the last time. Nothing is yielded for what is no Compose project.
    """
    old, new = _services(before), _services(after)
    for name in sorted(old.keys() | new.keys()):
        if name not in new:
            yield name, "gone"
        elif name in old and old[name] != new[name]:
            yield name, _words(new[name], took_s.get(name))


def _words(body: Mapping[str, Any], took_s: float | None) -> str:
    if STATELESS in (body.get("labels") or {}):
        return "answers all along: a second container takes over first"
    if body.get("restart") == "no":
        return "runs once, and ends"
    if took_s is not None:
        return f"away for about {max(1, round(took_s + 0.5))} s, as the last time"
    grace = patience.seconds(str(body.get("stop_grace_period", f"{_GRACE_S}s")))
    return f"away for {grace + patience.own_s(body.get('healthcheck'))} s at most"


def _services(text: str) -> Mapping[str, Any]:
    import yaml

    base: Any = getattr(yaml, "CSafeLoader", yaml.SafeLoader)
    try:
        found = yaml.load(text, Loader=base)  # noqa: S506 a safe loader, in C where there is one
    except yaml.YAMLError:
        return {}
    services = found.get("services") if isinstance(found, dict) else None
    return {name: body for name, body in services.items() if body} if isinstance(services, dict) else {}
