"""What the manifest may say about services. The catalogue that knows them lies above this room, so it is passed in."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Literal

import msgspec

SettingType = Literal["text", "integer", "number", "boolean", "list"]


class SettingShape(msgspec.Struct, frozen=True):
    """One setting of a service.

    `choices`, if any, are all its values, or its items' where it is a list; `pattern` bounds text or numbers.
    """

    type: SettingType = "text"
    description: str = ""
    choices: tuple[str, ...] = ()
    pattern: str = ""


class ServiceShape(msgspec.Struct, frozen=True):
    """A service that the manifest may name, with the settings that it understands.

    `subdomains` are the words before a client's domain that it may answer at.
    """

    name: str
    settings: Mapping[str, SettingShape] = {}
    description: str = ""
    subdomains: tuple[str, ...] = ()
