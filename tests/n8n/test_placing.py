"""The program of the start script: the package ends up whole where n8n looks, whatever was there."""

from __future__ import annotations

import json
import subprocess

import pytest

from otobotctl.render import package as packing
from tests.n8n import package


@pytest.fixture
def node(tree):
    return tree / "bin/node"


def _placed(folder):
    return folder / f".n8n/nodes/node_modules/{package.NAME}"


def test_every_file_of_the_package_is_there(node, tmp_path):
    """What the release holds is what n8n loads, file for file."""
    package.place(node, tmp_path)
    source = package.SOURCES / "custom" / package.NAME
    wanted = {path.relative_to(source): path.read_bytes() for path in source.rglob("*") if path.is_file()}
    found = _placed(tmp_path)
    assert {path: (found / path).read_bytes() for path in wanted} == wanted


def test_the_same_package_again_changes_nothing(node, tmp_path):
    """A restart of n8n does not rewrite the package."""
    assert "installed" in package.place(node, tmp_path)
    before = (_placed(tmp_path) / "package.json").stat().st_ino
    assert package.place(node, tmp_path) == ""
    assert (_placed(tmp_path) / "package.json").stat().st_ino == before


def test_another_package_replaces_the_old_one_whole(node, tmp_path):
    """A file that the new one lacks is gone, and package.json names the new tar alone."""
    package.place(node, tmp_path, packing.pack({"package.json": b"{}", "old.js": b"1"}))
    package.place(node, tmp_path, packing.pack({"package.json": b"{}", "new.js": b"2"}))
    assert sorted(path.name for path in _placed(tmp_path).iterdir()) == [".otobot-digest", "new.js", "package.json"]
    nodes = tmp_path / ".n8n/nodes"
    (kept,) = nodes.glob("*.tar")
    assert json.loads((nodes / "package.json").read_text())["dependencies"] == {package.NAME: f"file:{kept.name}"}


def test_what_the_operator_installed_stays(node, tmp_path):
    """Other packages and their entries are not touched."""
    nodes = tmp_path / ".n8n/nodes"
    (nodes / "node_modules/n8n-nodes-other").mkdir(parents=True)
    (nodes / "package.json").write_text(json.dumps({"name": "mine", "dependencies": {"n8n-nodes-other": "1.0.0"}}))
    package.place(node, tmp_path)
    said = json.loads((nodes / "package.json").read_text())
    assert (said["name"], said["dependencies"]["n8n-nodes-other"]) == ("mine", "1.0.0")
    assert (nodes / "node_modules/n8n-nodes-other").is_dir()


def test_a_killed_start_is_made_good_by_the_next(node, tmp_path):
    """Half a copy beside, and the old package moved away: the next start ends with a whole one."""
    package.place(node, tmp_path)
    placed = _placed(tmp_path)
    placed.rename(placed.with_name(f".{package.NAME}-part-old"))
    placed.with_name(f".{package.NAME}-part").mkdir()
    package.place(node, tmp_path)
    assert sorted(path.name for path in placed.parent.iterdir()) == [package.NAME]
    assert (placed / "package.json").is_file()


def test_a_tar_that_the_power_cut_short_is_written_anew(node, tmp_path):
    """Its name is there and its content is not: npm would take the empty one."""
    package.place(node, tmp_path)
    (kept,) = (tmp_path / ".n8n/nodes").glob("*.tar")
    whole = kept.read_bytes()
    kept.write_bytes(b"")
    package.place(node, tmp_path)
    assert kept.read_bytes() == whole


@pytest.mark.parametrize("content", [b"", b'{"encryptionKey": "ab', bytes(40)])
def test_settings_that_the_power_cut_short_go(node, tmp_path, content):
    """n8n refuses to start with them; without them it writes its own, with the key of its environment."""
    settings = tmp_path / ".n8n/config"
    settings.parent.mkdir()
    settings.write_bytes(content)
    package.place(node, tmp_path)
    assert not settings.exists()


def test_settings_that_are_whole_stay(node, tmp_path):
    """Nobody else's file is touched, and an n8n that has never started has none."""
    settings = tmp_path / ".n8n/config"
    package.place(node, tmp_path)
    assert not settings.exists()
    settings.write_text('{"encryptionKey": "abc"}')
    package.place(node, tmp_path)
    assert settings.read_text() == '{"encryptionKey": "abc"}'


def test_a_path_out_of_the_package_is_refused(node, tmp_path):
    """A tar writes nothing beside its own folder."""
    with pytest.raises(Exception, match="leads out of the package"):
        package.place(node, tmp_path, packing.pack({"../../evil.js": b""}))
    assert not list(tmp_path.rglob("evil.js"))


def test_a_later_npm_install_keeps_it(node, tmp_path):
    """npm, told to tidy up the folder, finds the package in package.json and takes it from the tar beside."""
    package.place(node, tmp_path)
    nodes = tmp_path / ".n8n/nodes"
    (nodes / "node_modules/left-over").mkdir()
    argv = ["npm", "install", "--offline", "--no-audit", "--no-fund", "--ignore-scripts"]
    done = subprocess.run(argv, cwd=nodes, capture_output=True, text=True, timeout=300, check=False)
    assert done.returncode == 0, done.stderr
    assert not (nodes / "node_modules/left-over").exists()  # it did tidy up
    assert (_placed(tmp_path) / "nodes/OtobotCredentialFetcher/OtobotCredentialFetcher.node.js").is_file()
    assert not _placed(tmp_path).is_symlink()
    # And the next release's package takes its place, lock file or not.
    package.place(node, tmp_path, packing.pack({"package.json": (_placed(tmp_path) / "package.json").read_bytes()}))
    again = subprocess.run(argv, cwd=nodes, capture_output=True, text=True, timeout=300, check=False)
    assert again.returncode == 0, again.stderr
    assert not (_placed(tmp_path) / "nodes").exists()
