"""A release as one tar: every file that holds no secret, and the secrets as they are sealed.

What the repository's key opens is never what opens the client's secrets: they are age's, for the fleet's recipients.
"""

from __future__ import annotations

import io
import os
import stat
import tarfile
from typing import Any, Dict

from otobotctl.agent.backup.places import BackupPlaces
from otobotctl.agent.dumps import DumpError
from otobotctl.agent.releases import RECORD, Releases

NAME = "/configuration.tar"
SEALED = "secrets.age"


def configuration(here: Releases, number: int, places: BackupPlaces) -> bytes:
    """The release's files below `release/`, and `secrets.age` where the host has it. Raises DumpError."""
    record = here.record(number)
    if "secret" not in record:
        text = "release {} does not say which of its files are secret; deploy it again".format(number)
        raise DumpError("configuration", text)
    stream = io.BytesIO()
    with tarfile.open(fileobj=stream, mode="w", format=tarfile.PAX_FORMAT) as packed:
        for path in _files(here.path(number)):
            name = os.path.relpath(path, here.path(number))
            if name == RECORD or not _is_secret(name, path, record):
                _add(packed, path, "release/" + name)
        if os.path.isfile(places.sealed):
            _add(packed, places.sealed, SEALED)
    return stream.getvalue()


def _files(top: str) -> "list[str]":
    return sorted(os.path.join(place, name) for place, _, names in os.walk(top) for name in names)


def _is_secret(name: str, path: str, record: Dict[str, Any]) -> bool:
    """What its record calls secret; and, if ever the record were wrong, whatever root alone may read."""
    return name in record["secret"] or not stat.S_IMODE(os.lstat(path).st_mode) & 0o044


def _add(packed: tarfile.TarFile, path: str, name: str) -> None:
    """Add a file with nothing that differs from one archive to the next but its content and mode."""
    with open(path, "rb") as source:
        about = tarfile.TarInfo(name)
        about.size = os.fstat(source.fileno()).st_size
        about.mode = stat.S_IMODE(os.fstat(source.fileno()).st_mode)
        packed.addfile(about, source)
