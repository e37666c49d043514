"""Trees of npm packages for the stand-in images, installed on this machine once and kept."""

from __future__ import annotations

import json
import os
import shutil
from pathlib import Path

from tests.lab import debian
from tests.lab.shell import retry, run
from tests.lab.slot import home, locked

# Neither scripts nor what is only for developers or other platforms: these packages are plain JavaScript.
_INSTALL = (
    "npm",
    "install",
    "--omit=dev",
    "--omit=optional",
    "--ignore-scripts",
    "--no-audit",
    "--no-fund",
    "--no-package-lock",
)
_NOT_RUN = ("*.map", "*.ts", "*.mts", "*.cts", "*.md", "*.flow")


def tree(name: str, packages: dict[str, str]) -> Path:
    """Return a folder whose `node_modules` has the packages in these versions; it is installed when it is missing."""
    wanted = json.dumps({"name": f"lab-{name}", "private": True, "dependencies": packages})
    path = home() / "cache" / f"npm-{name}-{debian.digest(wanted, *_INSTALL, *_NOT_RUN)}"
    with locked(home() / f"cache-npm-{name}.lock"):
        if not path.exists():
            part = path.with_name(f"scratch-npm-{name}")
            shutil.rmtree(part, ignore_errors=True)
            part.mkdir(parents=True)
            (part / "package.json").write_text(wanted)
            environment = {**os.environ, "HOME": os.environ.get("HOME", "/root")}
            retry(lambda: run(*_INSTALL, cwd=part, env=environment, timeout_s=300))
            prune(part)
            for old in path.parent.glob(f"npm-{name}-*"):
                shutil.rmtree(old)
            part.rename(path)
    return path


def prune(folder: Path) -> None:
    """Delete what no program reads while it runs."""
    for pattern in _NOT_RUN:
        for file in folder.rglob(pattern):
            if file.is_file() or file.is_symlink():
                file.unlink()
