"""The start script of Ollama on what a power cut leaves of a fetch."""

from __future__ import annotations

import os
import subprocess

import pytest

from tests.render.sample import text
from tests.render.test_ia import release

MANIFEST = "manifests/registry.ollama.ai/library/{}/latest"


@pytest.fixture
def models(tmp_path):
    """Where Ollama keeps its models, with a whole one and one that is being fetched; `ollama` says what it was asked."""
    (tmp_path / "ollama").write_text('#!/bin/sh\necho "ollama $*"\n')
    (tmp_path / "ollama").chmod(0o755)
    kept = tmp_path / ".ollama/models"
    for path, content in {
        MANIFEST.format("mistral"): '{"schemaVersion":2}',
        "blobs/sha256-aa": "weights",
        "blobs/sha256-bb-partial": "half of",
        "blobs/sha256-bb-partial-0": '{"N":0,"Offset":0,"Size":9,"Completed":7}\n',
        "blobs/sha256-bb-partial-1": '{"N":1,"Offset":9,"Size":9,"Completed":0}\n',
        "blobs/sha256-cc-partial": "other",
        "blobs/sha256-cc-partial-0": '{"N":0,"Offset":0,"Size":5,"Completed":5}\n',
    }.items():
        (kept / path).parent.mkdir(parents=True, exist_ok=True)
        (kept / path).write_text(content)
    return kept


def started(models):
    """Run the script; return what it said, and the files that are there afterwards."""
    home = models.parents[1]
    script = text(release(), "ollama/start.sh")
    env = {"PATH": f"{home}:{os.environ['PATH']}", "HOME": str(home)}
    done = subprocess.run(["sh"], input=script, env=env, capture_output=True, text=True, timeout=60, check=True)
    assert done.stdout == "ollama serve\n"
    return done.stderr, {str(path.relative_to(models)) for path in models.rglob("*") if path.is_file()}


def test_what_is_whole_stays(models):
    """A fetch goes on where it was; a first start finds nothing at all."""
    before = {str(path.relative_to(models)) for path in models.rglob("*") if path.is_file()}
    assert started(models) == ("", before)
    for path in sorted(models.parent.rglob("*"), reverse=True):
        path.rmdir() if path.is_dir() else path.unlink()
    assert started(models) == ("", set())


@pytest.mark.parametrize("left", [b"", bytes(64)], ids=["empty", "zeros"])
def test_a_manifest_that_the_power_cut_short_goes(models, left):
    """Ollama reads all of them at every fetch, and stops at this one."""
    (models / MANIFEST.format("mistral")).write_bytes(left)
    said, there = started(models)
    assert "is fetched again" in said
    assert MANIFEST.format("mistral") not in there
    assert "blobs/sha256-aa" in there


@pytest.mark.parametrize("left", [b"", bytes(64)], ids=["empty", "zeros"])
def test_a_part_whose_note_the_power_cut_short_begins_again(models, left):
    """All of it: what the other notes tell would be taken for the whole. Another fetch goes on where it was."""
    (models / "blobs/sha256-bb-partial-1").write_bytes(left)
    _, there = started(models)
    assert {path for path in there if "-bb-" in path} == set()
    assert {path for path in there if "-cc-" in path} == {"blobs/sha256-cc-partial", "blobs/sha256-cc-partial-0"}
