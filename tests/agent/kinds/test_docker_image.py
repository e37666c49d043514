"""Build contexts as docker gets them, and which tags are pruned."""

import base64
import io
import json
import tarfile

import pytest

from otobotctl.agent.kinds import docker_image
from otobotctl.agent.run import ProbeError, Run
from otobotctl.agent.shell import NOT_FOUND, Answer


def entry(path, content, mode="0644"):
    return {"path": path, "content_base64": base64.b64encode(content).decode(), "mode": mode, "secret": False}


def test_the_context_has_the_same_bytes_whatever_the_order():
    """So that layers stay cached; modes and contents arrive."""
    files = [entry("Dockerfile", b"FROM x\n"), entry("bin/run", b"#!/bin/sh\n", "0755")]
    first = docker_image.context_tar(files)
    assert first == docker_image.context_tar(files[::-1])
    with tarfile.open(fileobj=io.BytesIO(first)) as archive:
        found = {member.name: (oct(member.mode), archive.extractfile(member).read()) for member in archive}
    assert found == {"Dockerfile": ("0o644", b"FROM x\n"), "bin/run": ("0o755", b"#!/bin/sh\n")}


@pytest.mark.parametrize(
    ("answer", "facts"),
    [
        (
            Answer(0, json.dumps([{"Id": "sha256:1", "Config": {"Labels": {"otobot.context": "abc"}}}]), ""),
            {"id": "sha256:1", "context": "abc"},
        ),
        (
            Answer(0, json.dumps([{"Id": "sha256:1", "Config": {"Labels": None}}]), ""),
            {"id": "sha256:1", "context": None},
        ),
        (Answer(1, "[]\n", "Error response from daemon: No such image: x:latest\n"), {"id": None, "context": None}),
        (Answer(NOT_FOUND, "", "docker: not found"), {"id": None, "context": None}),
    ],
)
def test_probe_reads_what_docker_says(monkeypatch, answer, facts):
    """An image that is not there, and a host without docker, are facts."""
    monkeypatch.setattr(docker_image, "ask", lambda argv: answer)
    assert docker_image.probe({"reference": "x"}) == facts


def test_a_docker_that_does_not_answer_is_no_fact(monkeypatch):
    """It must not look like an absent image."""
    monkeypatch.setattr(docker_image, "ask", lambda argv: Answer(1, "", "Cannot connect to the Docker daemon"))
    with pytest.raises(ProbeError, match="Cannot connect"):
        docker_image.probe({"reference": "x"})


def test_the_three_newest_tags_stay(monkeypatch):
    """The one just built and two more; one that a container uses stays too, because docker refuses."""
    asked, said = [], []

    def ask(argv):
        asked.append(argv)
        if argv[2] == "ls":
            return Answer(0, "a:5\na:4\na:<none>\na:3\na:2\na:1\n", "")
        return Answer(1 if argv[-1] == "a:2" else 0, "", "")

    monkeypatch.setattr(docker_image, "ask", ask)
    docker_image._prune("a", "a:5", Run(said.append))
    assert [argv[-1] for argv in asked[1:]] == ["a:2", "a:1"]
    assert said == ["removed a:1"]
