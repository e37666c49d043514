"""YAML in: plain data only, by libyaml where it is there (ten times as fast)."""

from __future__ import annotations

from typing import Any

from otobotctl.errors import ManifestError


def parse_yaml(text: str | bytes, where: str) -> Any:
    """Return the one document in `text`. Raises ManifestError naming `where` and the line."""
    import yaml

    loader = getattr(yaml, "CSafeLoader", yaml.SafeLoader)
    try:
        return yaml.load(text, loader)  # noqa: S506 - both loaders make plain data only
    except yaml.YAMLError as error:
        mark = getattr(error, "problem_mark", None)
        line = f":{mark.line + 1}" if mark else ""
        raise ManifestError(f"{where}{line}: not YAML: {getattr(error, 'problem', None) or error}") from error
