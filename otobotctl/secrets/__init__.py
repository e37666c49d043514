"""What secrets exist, how they are minted, and the sealed store they live in."""

from __future__ import annotations

from typing import TYPE_CHECKING

from otobotctl import lazy
from otobotctl.secrets.model import KINDS, Course, Secret, SecretKind, SecretSpec, previous

if TYPE_CHECKING:
    from otobotctl.secrets.files import (
        armoured,
        locked,
        open_store,
        read_metadata,
        reseal,
        save,
        sealed_for,
    )
    from otobotctl.secrets.keys import identities
    from otobotctl.secrets.metadata import Metadata
    from otobotctl.secrets.store import (
        SecretStore,
        expose,
        hold,
        mint_missing,
        retire,
        rotate,
        rotating,
        set_given,
        settle,
        undo,
    )

_HOMES = {
    **dict.fromkeys(
        (
            *("armoured", "locked", "open_store"),
            *("read_metadata", "reseal", "save", "sealed_for"),
        ),
        "files",
    ),
    "identities": "keys",
    "Metadata": "metadata",
    **dict.fromkeys(
        (
            *("SecretStore", "expose", "hold", "mint_missing", "retire"),
            *("rotate", "rotating", "set_given", "settle", "undo"),
        ),
        "store",
    ),
}

__all__ = [
    "KINDS",
    "Course",
    "Metadata",
    "Secret",
    "SecretKind",
    "SecretSpec",
    "SecretStore",
    "armoured",
    "expose",
    "hold",
    "identities",
    "locked",
    "mint_missing",
    "open_store",
    "previous",
    "read_metadata",
    "reseal",
    "retire",
    "rotate",
    "rotating",
    "save",
    "sealed_for",
    "set_given",
    "settle",
    "undo",
]

__getattr__ = lazy.names(__name__, _HOMES)
