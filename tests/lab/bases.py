"""Bases beyond the bare one: with Docker, and with Docker and the stand-in images. A build that was killed leaves none."""

from __future__ import annotations

from pathlib import Path
from typing import TYPE_CHECKING

from tests.lab import base, debian, images, pool, registry
from tests.lab.pool import Pool
from tests.lab.shell import retry
from tests.lab.slot import home, locked

if TYPE_CHECKING:
    from tests.lab.host import Host
    from tests.lab.lab import Lab

_DOCKER = "docker.io docker-cli docker-compose docker-buildx ufw openssl curl"
_INSTALL = f"""set -e
apt-get -q update
DEBIAN_FRONTEND=noninteractive apt-get -qy -o Dpkg::Options::=--force-unsafe-io install --no-install-recommends {_DOCKER}
usermod -aG docker {base.USER}
apt-get clean
docker info >/dev/null
"""


def docker(lab: Lab) -> str:
    """Return the base with Docker from Debian's packages, built when it is missing (about 30 s)."""
    bare = base.bare()
    name = f"docker-{debian.digest(bare, _INSTALL)}"
    with locked(home() / "docker.lock"):
        if Pool.find(name) is None:
            host = lab.boot(bare, "builder")
            try:
                retry(lambda: host.ssh("bash -s", input=_INSTALL, user="root", timeout_s=500))
                _freeze(host, name)
            finally:
                lab.destroy(host)
    return name


def warm(lab: Lab) -> str:
    """Return the base with Docker and the images in it, built when it is missing (about 4 minutes); fills the registry."""
    with_docker = docker(lab)
    name = f"warm-{debian.digest(with_docker, images.digest())}"
    with locked(home() / "warm.lock"):
        if Pool.find(name) is None or Pool.find(_store()) is None:
            storage = Pool.scratch("registry")
            pool.create(storage)
            writable = registry.Registry(lab.slot, storage, readonly=False)
            host = lab.boot(with_docker, "builder", registry.NAMES)
            try:
                writable.start()
                images.build(host)
                _freeze(host, name)
                writable.stop()
                Pool.freeze(storage, _store())
            finally:
                writable.stop()
                lab.destroy(host)
                pool.delete(storage)
    return name


def _store() -> str:
    return f"registry-{images.digest()}"


def registry_storage(lab: Lab) -> Path:
    """Return the folder of the registry that has the images, built when it is missing."""
    warm(lab)
    found = Pool.find(_store())
    assert found is not None
    return found


def _freeze(host: Host, name: str) -> None:
    """Keep a host as a base, switched off in an orderly way."""
    host.shut_down()
    keep(host, name)


def keep(host: Host, name: str) -> None:
    """Keep a host as a base, without what makes it that one host; one that is on, as a power cut would leave it now."""
    if host.running():
        host.ssh("sync", user="root")
    tree = Pool.scratch(name.partition("-")[0])
    pool.snapshot(host.root, tree)
    base.forget_identity(tree)
    Pool.freeze(tree, name)
    pool.delete(tree)
