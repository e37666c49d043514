"""Takes secret values out of lines of output, also as JSON, URLs and Python write them."""

from __future__ import annotations

import json
from typing import Iterable, Set

_URL_SAFE = frozenset("ABCDEFGHIJKLMNOPQRSTUVWXYZabcdefghijklmnopqrstuvwxyz0123456789-._~")
_SHORTEST_LINE = 8  # of a value of several lines: its "-----" and "}" are no secrets


class Mask:
    """Replaces every given value by ***."""

    def __init__(self, values: Iterable[str]) -> None:
        forms: Set[str] = set()
        for value in values:
            forms.update(_forms(value))
            for line in value.splitlines():
                if len(line) >= _SHORTEST_LINE:
                    forms.update(_forms(line))
        forms.discard("")
        # The longest first: a value that contains another must not leave its ends behind.
        self._forms = sorted(forms, key=len, reverse=True)

    def __call__(self, text: str) -> str:
        """`text` without the values."""
        for form in self._forms:
            text = text.replace(form, "***")
        return text


def _forms(value: str) -> Set[str]:
    url = "".join(
        character if character in _URL_SAFE else "".join("%{:02X}".format(byte) for byte in character.encode())
        for character in value
    )
    return {value, json.dumps(value)[1:-1], json.dumps(value, ensure_ascii=False)[1:-1], repr(value)[1:-1], url}
