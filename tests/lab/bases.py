"""Bases beyond the bare one: with Docker, with the stand-in images, and with what every deploy installs besides.

A build that was killed leaves none.
"""

from __future__ import annotations

import contextlib
from collections.abc import Callable, Iterator, Sequence
from functools import partial
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


# Switched on by the tool under test alone; until then no package timer runs in a host.
_PREPARE = """set -e
apt-get -q update
DEBIAN_FRONTEND=noninteractive apt-get -qy -o Dpkg::Options::=--force-unsafe-io install --no-install-recommends {packages}
rm -f /etc/apt/apt.conf.d/20auto-upgrades
apt-get clean
"""


def _base(name: str, build: Callable[[], object]) -> str:
    """Return `name`; `build` makes the base when it is missing. Nobody waits for a base of another checkout."""
    if Pool.find(name) is None:
        with locked(home() / f"{name.partition('-')[0]}.lock"):
            if Pool.find(name) is None:
                build()
    return name


def docker(lab: Lab) -> str:
    """Return the base with Docker from Debian's packages, built when it is missing (about 30 s)."""
    bare = base.bare()

    def build() -> None:
        with _builder(lab, bare) as host:
            retry(lambda: host.ssh("bash -s", input=_INSTALL, user="root", timeout_s=500))
            _freeze(host, name)

    name = f"docker-{debian.digest(bare, _INSTALL)}"
    return _base(name, build)


def filled(lab: Lab) -> str:
    """Return the base with Docker and the images in it, built when it is missing (about 4 minutes); fills the registry."""
    with_docker = docker(lab)

    def build() -> None:
        storage = Pool.scratch("registry")
        pool.create(storage)
        writable = registry.Registry(lab.slot, storage, readonly=False)
        try:
            with _builder(lab, with_docker, registry.NAMES) as host:
                writable.start()
                images.build(host)
                writable.stop()
                Pool.freeze(storage, _store())
                _freeze(host, name)
        finally:
            writable.stop()
            pool.delete(storage)

    name = f"warm-{debian.digest(with_docker, images.digest())}"
    return _base(name, build)


def warm(lab: Lab) -> str:
    """Return the base with Docker, the images and what every deploy installs and builds first, built when it is missing.

    Docker remembers the vault's wheels; what of them a deploy wants is still its own `apt-get` and `docker build` to find.
    """
    with_images, heads = filled(lab), images.heads()
    script = _PREPARE.format(packages=" ".join(images.packages()))

    def build() -> None:
        with _builder(lab, with_images, registry.NAMES) as host:
            retry(lambda: host.ssh("bash -s", input=script, user="root", timeout_s=500))
            for head in heads:
                # Kept by the builder alone: an image that no release names would be a difference.
                command = "docker rmi $(docker build --quiet -)"
                retry(partial(host.ssh, command, input=head, user="root", timeout_s=500))
            _freeze(host, name)

    name = f"ready-{debian.digest(with_images, script, *heads, Path(__file__))}"
    return _base(name, build)


@contextlib.contextmanager
def _builder(lab: Lab, base_name: str, registry_names: Sequence[str] = ()) -> Iterator[Host]:
    """A host to make a base of, gone after."""
    host = lab.boot(base_name, "builder", registry_names)
    try:
        yield host
    finally:
        lab.destroy(host)


def _store() -> str:
    return f"registry-{images.digest()}"


def registry_storage(lab: Lab) -> Path:
    """Return the folder of the registry that has the images, built when it is missing."""
    filled(lab)
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
    engine = tree / "var/lib/docker/engine-id"
    kept = engine.read_text() if engine.exists() else None
    base.forget_identity(tree)
    if kept is not None:  # under another one Docker finds nothing of what its builder remembers
        base.put(tree, str(engine.relative_to(tree)), kept, 0o600)
    Pool.freeze(tree, name)
    pool.delete(tree)
