"""Fleets for tests that need no host: made by `init`, in a home of their own."""

from __future__ import annotations

import json
from collections.abc import Mapping
from pathlib import Path
from typing import Any

import pytest

from otobotctl import fleet as fleets
from otobotctl.cli import main as cli
from otobotctl.fleet import Fleet

Entries = Mapping[str, Mapping[str, Any]]


def made(patch: pytest.MonkeyPatch, home: Path, directory: Path, hosts: Entries, clients: Entries) -> Fleet:
    """A fleet with these hosts and clients. `patch` makes `home` the operator's, as long as it lasts."""
    home.mkdir(exist_ok=True)
    patch.setenv("HOME", str(home))
    for name in ("OTOBOTCTL_IDENTITY", "OTOBOTCTL_FLEET"):
        patch.delenv(name, raising=False)
    assert cli.main(["init", str(directory)]) == 0
    found = fleets.find(directory)
    written = json.loads(found.manifest.read_text())
    found.manifest.write_text(json.dumps({**written, "hosts": hosts, "clients": clients}, indent=2))
    return found


def client(slug: str, host: str, **more: Any) -> dict[str, Any]:
    """The least that a manifest says of a client."""
    return {"company": slug, "email": f"it@{slug}.example", "host": host, "domain": f"{slug}.example", **more}
