"""Keeps the agent on the host, compiled, so that the next execution need not send it."""

from __future__ import annotations

import os
import py_compile
import shutil
import zipfile

_KEPT = 3  # operators with different versions do not push each other's out


def keep(archive: str, directory: str) -> None:
    """Unpack `archive` to `directory`, durably and at once. On a full disk nothing is kept, which costs only time."""
    parent = os.path.dirname(directory)
    beside = "{}.{}.new".format(directory, os.getpid())
    try:
        with zipfile.ZipFile(archive) as packed:
            packed.extractall(beside)
        for folder, _, names in os.walk(beside):
            for name in names:
                source = os.path.join(folder, name)
                _sync(source)
                _sync(str(py_compile.compile(source, dfile=source.replace(beside, directory), doraise=True)))
            _sync(folder)
        os.rename(beside, directory)
        _sync(parent)
        _drop_old(parent)
    except OSError:
        shutil.rmtree(beside, ignore_errors=True)


def _drop_old(parent: str) -> None:
    with os.scandir(parent) as entries:
        newest_first = sorted(entries, key=lambda entry: entry.stat().st_mtime_ns, reverse=True)
    for entry in newest_first[_KEPT:]:
        shutil.rmtree(entry.path, ignore_errors=True)


def _sync(path: str) -> None:
    descriptor = os.open(path, os.O_RDONLY)
    try:
        os.fsync(descriptor)
    finally:
        os.close(descriptor)
