"""What a volume's dump leaves out, by the real tar."""

from __future__ import annotations

import io
import subprocess
import tarfile
from pathlib import Path
from typing import Any

import pytest

from otobotctl.agent import dumps
from otobotctl.agent.shell import Answer


@pytest.fixture
def volume(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """A volume of n8n's, as Docker says where it is."""
    for name in ("config", "nodes/config", "config.bak", "a*b/x", "aXb/x", "binaryData/one.bin"):
        (tmp_path / name).parent.mkdir(parents=True, exist_ok=True)
        (tmp_path / name).write_text(name)
    monkeypatch.setattr(dumps, "ask", lambda _: Answer(0, f"{tmp_path}\n", ""))
    return tmp_path


def names(*excluded: str) -> set[str]:
    """The files in the dump of the volume."""
    source: dict[str, Any] = {
        "kind": "volume",
        "name": "n8n_data",
        "service": "",
        "of": "n8n",
        "exclude": list(excluded),
    }
    (dump,) = dumps.dumps([source], dumps.Project("otobot-acme", "/opt/otobot/acme/current"))
    done = subprocess.run(dump.argv, capture_output=True, check=True, timeout=60)
    with tarfile.open(fileobj=io.BytesIO(done.stdout)) as packed:
        return {each.name for each in packed.getmembers() if each.isfile()}


def test_only_the_path_that_is_named_is_left_out(volume: Path) -> None:
    """n8n's key is in `config` at the top; another file of that name is data."""
    everything = {"./config", "./nodes/config", "./config.bak", "./a*b/x", "./aXb/x", "./binaryData/one.bin"}
    assert names() == everything
    assert names("config") == everything - {"./config"}


def test_a_folder_is_left_out_whole_and_a_star_is_a_star(volume: Path) -> None:
    """A path is no pattern."""
    assert "./binaryData/one.bin" not in names("binaryData")
    assert names("a*b") & {"./a*b/x", "./aXb/x"} == {"./aXb/x"}


def test_a_source_of_an_older_operator_leaves_nothing_out(volume: Path) -> None:
    """It says nothing of what to leave out."""
    source = {"kind": "volume", "name": "n8n_data", "service": "", "of": "n8n"}
    (dump,) = dumps.dumps([source], dumps.Project("otobot-acme", "/opt/otobot/acme/current"))
    assert not [word for word in dump.argv if word.startswith("--exclude")]
