"""Records to lines of JSON and back, by the C half of Python's own `json`.

Its other half imports `re`, and through it what costs a host as much CPU as starting Python does; a look, which twenty
hosts answer at once, needs none of that. A Python that is built otherwise has `json` itself.
"""

from __future__ import annotations

from typing import Any, Callable


class _Context:
    """What json.JSONDecoder would be asked."""

    strict = True
    object_hook = None
    object_pairs_hook = None
    parse_float = float
    parse_int = int
    parse_constant = float


def _quick() -> "tuple[Callable[[str], Any], Callable[[Any], str], Callable[[Any], str]]":
    import _json

    context: Any = _Context
    scan = _json.make_scanner(context)

    def decode(text: str) -> Any:
        text = text.strip(" \t\r\n")
        try:
            found, end = scan(text, 0)
        except StopIteration:
            raise ValueError("not JSON") from None
        if end != len(text):
            raise ValueError("more than one value")
        return found

    def encoder(ordered: bool) -> "Callable[[Any], str]":
        make = _json.make_encoder(None, _refuse, _json.encode_basestring_ascii, None, ":", ",", ordered, False, True)
        return lambda value: "".join(make(value, 0))

    return decode, encoder(False), encoder(True)


def _slow() -> "tuple[Callable[[str], Any], Callable[[Any], str], Callable[[Any], str]]":
    import json

    def encoder(ordered: bool) -> "Callable[[Any], str]":
        return json.JSONEncoder(separators=(",", ":"), sort_keys=ordered).encode

    return json.loads, encoder(False), encoder(True)


def _refuse(value: object) -> Any:
    raise TypeError("{} has no place in a record".format(type(value).__name__))


def _chosen() -> "tuple[Callable[[str], Any], Callable[[Any], str], Callable[[Any], str]]":
    try:
        quick = _quick()
        if quick[0](quick[2]({"b": [1.5, None, "\u00e9"], "a": {}})) == {"a": {}, "b": [1.5, None, "\u00e9"]}:
            return quick
    except Exception:  # noqa: BLE001 whatever another Python's insides say: json itself is always right
        pass
    return _slow()


_decode, _encode, _canonical = _chosen()


def decode(line: "bytes | str") -> Any:
    """The value that a line says. Raises ValueError."""
    return _decode(line if isinstance(line, str) else line.decode("utf-8"))


def encode(record: "dict[str, Any]") -> bytes:
    """One line of the wire."""
    return _encode(record).encode("ascii") + b"\n"


def canonical(value: Any) -> str:
    """The same text for equal values, whatever the order of their keys."""
    return _canonical(value)
