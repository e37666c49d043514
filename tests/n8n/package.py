"""The node package, placed as a deploy places it: packed by the renderer, installed by the start script's program."""

from __future__ import annotations

from pathlib import Path

from otobotctl.render import package
from otobotctl.render.catalog import load_catalog
from tests.lab.shell import run

NAME = "n8n-nodes-otobot"
TYPE = f"{NAME}.otobotCredentialFetcher"
LOGIN = "otobotDatabaseApi"
SERVICE_LOGIN = "otobotServiceApi"
SOURCES = Path(__file__).resolve().parents[2] / "templates/services/n8n"


def packed() -> bytes:
    """The tar that a release holds."""
    return package.pack(load_catalog().plain_files(f"n8n/custom/{NAME}"))


def place(node: Path, user_folder: Path, content: bytes | None = None) -> str:
    """Install the package for the n8n whose N8N_USER_FOLDER this is; return what the program said."""
    tar = user_folder / f"{NAME}.tar"
    tar.write_bytes(content or packed())
    return run(node, SOURCES / "install.js", tar, user_folder / ".n8n").stdout
