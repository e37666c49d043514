"""What the manifest may say about services. The catalogue that knows them lies above this room, so it is passed in."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field
from typing import Literal

SettingType = Literal["text", "integer", "number", "boolean", "list"]


@dataclass(frozen=True)
class SettingShape:
    """One setting of a service. `choices`, when there are any, are all the values it may have."""

    type: SettingType = "text"
    description: str = ""
    choices: tuple[str, ...] = ()


@dataclass(frozen=True)
class ServiceShape:
    """A service that the manifest may name, with the settings that it understands."""

    name: str
    settings: Mapping[str, SettingShape] = field(default_factory=dict)
    description: str = ""
