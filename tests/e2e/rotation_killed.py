"""Runs a command of otobotctl that kills itself, as kill -9 does, at the first boundary that is not in a file yet.

A boundary is behind a write of the sealed store, in a deploy (while its worker runs on the host) or behind one. Each is
named with where every rotation stands by then, so that the same call in a later state is another one.
"""

from __future__ import annotations

import os
import signal
import sys
from collections import Counter
from dataclasses import replace
from functools import wraps
from pathlib import Path

from otobotctl import secrets
from otobotctl.cli import main as cli
from otobotctl.render.catalog import Catalog
from otobotctl.secrets import course
from otobotctl.workflows import converging

SHORT_S = 1  # in place of the quarter of an hour that a session of the vault lives


class Boundaries:
    """Those that were seen, one a line; `-` as the file: none is a reason to die."""

    def __init__(self, file):
        self._file = None if file == "-" else Path(file)
        self._state = "unknown"

    def look(self, store):
        """Where every rotation stands by now."""
        found = Counter(str(course.stage(store, name)) for name in course.under_way(store))
        self._state = " ".join(f"{count} {stage}" for stage, count in sorted(found.items())) or "settled"

    def at(self, event):
        """Die here, the first time."""
        label = f"{event}, {self._state}"
        if self._file is None or label in self._file.read_text().splitlines():
            return
        with self._file.open("a") as file:
            file.write(f"{label}\n")
        os.kill(os.getpid(), signal.SIGKILL)


class Heard:
    """The command's own listener, and a boundary where the host has begun with the containers."""

    def __init__(self, inner, boundaries):
        self._inner, self._boundaries = inner, boundaries

    def event(self, record):
        """A record of the host's journal."""
        self._inner.event(record)
        if record["event"] == "step_start" and "release" in record["step"]:
            self._boundaries.at("while the release is brought up")


def arm(boundaries):
    """Put the boundaries into the code that runs in this process, and make waiting short."""
    save, opened, deploy, specs = secrets.save, secrets.open_store, converging.deploy, Catalog.secret_specs

    @wraps(save)
    def saved(directory, store, recipients):
        save(directory, store, recipients)
        boundaries.look(store)
        boundaries.at("saved")

    @wraps(deploy)
    def deployed(fleet, slug, listener, *arguments):
        boundaries.look(opened(fleet.client(slug), secrets.identities()))
        done = deploy(fleet, slug, Heard(listener, boundaries), *arguments)
        boundaries.at("behind a deploy")
        return done

    def short(catalog, services):
        return tuple(replace(spec, hold_s=min(spec.hold_s, SHORT_S)) for spec in specs(catalog, services))

    secrets.save, converging.deploy = saved, deployed
    Catalog.secret_specs = short


if __name__ == "__main__":
    arm(Boundaries(sys.argv[1]))
    sys.exit(cli.main(sys.argv[2:]))
