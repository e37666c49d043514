"""The real n8n, from npm: a tree that starts, with the Node that it wants, made once and kept.

    tree = install(NEWEST)          # /var/tmp/otobotctl-lab/n8n/<version>-<digest>
    tree/bin/node                   # the Node it runs on, pinned too; nothing of the machine's own is needed
    tree/node_modules/n8n/bin/n8n   # n8n itself: `PATH=tree/bin:$PATH node tree/node_modules/n8n/bin/n8n start`

The tree may be moved or copied as a whole (node needs glibc 2.28 and libstdc++). Nothing in it was compiled here, so no
build tools are needed; n8n then has no SQLite: it runs with DB_TYPE=postgresdb. `python -m tests.n8n.install [VERSION...]`
makes those, or every one that the tests use, and prints where they are.
"""

from __future__ import annotations

import json
import os
import platform
import shutil
import sys
from dataclasses import dataclass
from pathlib import Path

from tests.lab.debian import digest
from tests.lab.shell import LabError, retry, run
from tests.lab.slot import home, locked

NEWEST = "1.123.81"  # of 1.x, as far as the registry has it
SEEDS = "1.41.1"  # what the company began with

_NPM = "11.21.2"
_TYPESCRIPT = "5.9.3"
_INSTALL_LIMIT_S = 900
# What no running program reads: two fifths of the whole.
_UNREAD = (".map", ".d.ts", ".d.cts", ".d.mts", ".md", ".markdown", ".tgz", ".tsbuildinfo")
_QUIET = ("--ignore-scripts", "--no-audit", "--no-fund", "--omit=dev", "--omit=optional", "--loglevel=error")


@dataclass(frozen=True)
class _Recipe:
    """What a tree is made of. `node` is the release that this n8n accepts to run on."""

    n8n: str
    node: str

    @property
    def package(self) -> str:
        # The xlsx that n8n asks for is not on npm; this one is, and has the same functions.
        parts = {"n8n": self.n8n}
        return json.dumps({"private": True, "dependencies": parts, "overrides": {"xlsx": "0.18.5"}})


_RECIPES = {recipe.n8n: recipe for recipe in (_Recipe(NEWEST, "24.21.0"), _Recipe(SEEDS, "20.20.2"))}


def missing() -> str:
    """Return why this machine cannot have an n8n, or nothing."""
    if sys.platform != "linux" or platform.machine() not in {"x86_64", "aarch64"}:
        return "the real n8n needs Linux on x86-64 or ARM"
    return "" if shutil.which("npm") else "npm is not installed"


def install(version: str) -> Path:
    """Return the tree of n8n `version`, made if there is none yet (2 minutes, 0.9 GB). A killed call leaves none.

    Raises:
        LabError: npm could not make it, three times; the text has npm's last words.
    """
    recipe = _RECIPES[version]
    trees = home() / "n8n"
    tree = trees / f"{version}-{digest(recipe.package, recipe.node, _NPM, *_QUIET, *_UNREAD)}"
    with locked(trees / f"{version}.lock"):
        if not tree.exists():
            # What earlier recipes and killed calls left of this version goes first.
            for old in trees.glob(f"{version}-*"):
                shutil.rmtree(old)
            part = trees / f"{version}-part"
            part.mkdir()
            _make(recipe, part)
            part.rename(tree)
    return tree


def typescript() -> Path:
    """Return TypeScript's compiler, from npm, made if there is none yet (3 seconds, 23 MB)."""
    tools = home() / "n8n" / f"typescript-{_TYPESCRIPT}"
    with locked(tools.with_suffix(".lock")):
        if not tools.exists():
            part = tools.with_name(f"{tools.name}-part")
            shutil.rmtree(part, ignore_errors=True)
            _npm(("npm",), part, f"typescript@{_TYPESCRIPT}")
            part.rename(tools)
    return tools / "node_modules/typescript/bin/tsc"


def _make(recipe: _Recipe, tree: Path) -> None:
    tools = tree / "tools"
    machine = {"x86_64": "x64", "aarch64": "arm64"}[platform.machine()]
    node = f"node-linux-{machine}"
    _npm(("npm",), tools, f"{node}@{recipe.node}", f"npm@{_NPM}")
    (tree / "bin").mkdir()
    (tools / f"node_modules/{node}/bin/node").rename(tree / "bin/node")
    (tree / "package.json").write_text(recipe.package)
    _npm((str(tree / "bin/node"), str(tools / "node_modules/npm/bin/npm-cli.js")), tree)
    shutil.rmtree(tools)
    _prune(tree / "node_modules")
    found = json.loads((tree / "node_modules/n8n/package.json").read_text())["version"]
    if found != recipe.n8n:
        raise LabError(f"npm installed n8n {found} instead of {recipe.n8n}")


def _npm(npm: tuple[str, ...], where: Path, *packages: str) -> None:
    """Let npm install into `where`, again if it fails: it goes on with what it has downloaded."""
    environment = {**os.environ, "PATH": f"{where / 'bin'}:{os.environ['PATH']}", "npm_config_update_notifier": "false"}
    where.mkdir(exist_ok=True)
    argv = (*npm, "install", *_QUIET, "--prefix", where, *packages)
    retry(lambda: run(*argv, cwd=where, env=environment, timeout_s=_INSTALL_LIMIT_S))


def _prune(modules: Path) -> None:
    foreign = {"darwin", "win32", "musl", {"x86_64": "arm64", "aarch64": "x64"}[platform.machine()]}
    for folder, _, files in os.walk(modules):
        for name in files:
            words = set(name.replace(".", "-").split("-")) | set(Path(folder).name.split("-"))
            if name.endswith(_UNREAD) or (name.endswith(".node") and words & foreign):
                Path(folder, name).unlink()


if __name__ == "__main__":
    for wanted in sys.argv[1:] or _RECIPES:
        print(install(wanted))
