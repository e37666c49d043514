"""A folder of a service as one file of the release, and plain files as they are."""

from __future__ import annotations

import dataclasses
import io
import tarfile

import msgspec
import pytest

from otobotctl.errors import ManifestError
from otobotctl.render import package
from otobotctl.render.catalog import check, load_catalog
from otobotctl.render.client import render_client
from tests.render.sample import composed, resolved, secrets_of

TAR = "n8n/custom/n8n-nodes-otobot.tar"


def test_a_package_is_the_same_bytes_whatever_the_order():
    """The digest of a release does not move with the machine that rendered it."""
    one = package.pack({"a.js": b"1", "b/c.js": b"2"})
    assert one == package.pack({"b/c.js": b"2", "a.js": b"1"})
    with tarfile.open(fileobj=io.BytesIO(one)) as archive:
        assert [(entry.name, entry.mode, entry.mtime, entry.uid) for entry in archive] == [
            ("package/a.js", 0o644, 0, 0),
            ("package/b/c.js", 0o644, 0, 0),
        ]


def test_a_release_holds_the_node_package_once_and_its_installer_as_it_is():
    """One tar instead of the files in it; a plain file goes unrendered."""
    release = _release(load_catalog())
    with tarfile.open(fileobj=io.BytesIO(release.file(TAR).content)) as archive:
        assert "package/package.json" in archive.getnames()
    plain = load_catalog().plain["n8n/install.js"]
    assert release.file("n8n/install.js").content == plain
    assert not [file.path for file in release.files if file.path.startswith("n8n/custom/n8n-nodes-otobot/")]


def test_another_package_makes_n8n_and_its_workers_anew():
    """Compose recreates what reads the package when a byte of it changes, and nothing else."""
    catalog = load_catalog()
    name = "n8n/custom/n8n-nodes-otobot/package.json"
    changed = dataclasses.replace(catalog, plain={**catalog.plain, name: catalog.plain[name] + b"\n"})
    before, after = (_labels(_release(each)) for each in (catalog, changed))
    assert {name for name in before if before[name] != after[name]} == {"n8n", "n8n-worker"}


def test_a_package_that_is_no_folder_is_refused():
    """A typing error in service.yaml is told when the catalogue is read, not when a container starts."""
    catalog = load_catalog()
    n8n = catalog.services["n8n"]
    wrong = {**catalog.services, "n8n": msgspec.structs.replace(n8n, packages=("custom/none",))}
    with pytest.raises(ManifestError) as error:
        check(dataclasses.replace(catalog, services=wrong))
    assert "n8n: packages custom/none, which is no folder with files" in str(error.value.details)


def _labels(release):
    return {name: tree["labels"]["otobot.config"] for name, tree in composed(release)["services"].items()}


def _release(catalog):
    """A client with n8n in queue mode."""

    def change(document):
        document["clients"]["acme"]["services"] = ["postgres", "redis", "vault-api", "n8n"]
        document["clients"]["acme"]["settings"] = {"n8n": {"mode": "queue"}}

    fleet = resolved(change)
    client = fleet.client("acme")
    return render_client(client, fleet.host(client.host), client.index, secrets_of(client), catalog)
