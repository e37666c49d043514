"""A part of an archive fed to a program, counted and digested on its way."""

from __future__ import annotations

import hashlib
import os
import subprocess
from typing import Any, Dict, List

from otobotctl.agent.backup.restic import Restic
from otobotctl.agent.backup.shapes import Part
from otobotctl.agent.backup.throwaway import DrillError
from otobotctl.agent.run import environment, last_words

_READ = 1 << 20
_PROGRAMS = ("pg_restore", "mongorestore", "tar")


def feed(restic: Restic, part: Part, argv: List[str], stdout: int = subprocess.DEVNULL) -> Dict[str, Any]:
    """Feed a part to a program; return what came, and what the program `said`. Raises DrillError, OSError."""
    digest, size = hashlib.sha256(), 0
    source = restic.dump(part["snapshot"], part["name"])
    errors = os.memfd_create("errors")
    reader = subprocess.Popen(argv, stdin=subprocess.PIPE, stdout=stdout, stderr=errors, env=environment())
    assert source.stdout is not None
    assert source.stderr is not None
    assert reader.stdin is not None
    refused = False
    try:
        for block in iter(lambda: source.stdout.read(_READ) if source.stdout else b"", b""):
            digest.update(block)
            size += len(block)
            if not refused:
                try:
                    reader.stdin.write(block)
                except BrokenPipeError:
                    refused = True  # its status says why; what is in the repository is read to its end
        said = source.stderr.read()
        if source.wait():
            raise DrillError("it cannot be read: {}".format(restic.failed("dump", source.returncode, said)))
        try:
            reader.stdin.close()
        except BrokenPipeError:
            pass
        status = reader.wait()
        words = os.pread(errors, 1 << 20, 0)
    finally:
        for process in (source, reader):
            if process.poll() is None:
                process.kill()
                process.wait()
        source.stdout.close()
        source.stderr.close()
        os.close(errors)
    if status:
        raise DrillError("{} ended with {}: {}".format(_program(argv), status, last_words(words)))
    return dict(came(part, size, digest.hexdigest()), said=words.decode("utf-8", "replace"))


def came(part: Part, size: int, digest: str) -> Dict[str, Any]:
    """What came of a part, with an `error` where it is not all of it."""
    found: Dict[str, Any] = {"sha256": digest}
    if size != part["bytes"]:
        found["error"] = "{} bytes came back of {}".format(size, part["bytes"])
    return found


def _program(argv: List[str]) -> str:
    """What runs, without what it is run by."""
    return next((word for word in argv if word in _PROGRAMS), argv[0])
