"""An image that is on the host: pulled by its reference, or built there from a context streamed to `docker build -`."""

from __future__ import annotations

import json
from typing import Any, Dict, List, Sequence

from otobotctl.agent.run import ProbeError, Run, StepError
from otobotctl.agent.shell import NOT_FOUND, ask

LABEL = "otobot.context"
KEPT_TAGS = 3


def probe(params: Dict[str, Any]) -> Dict[str, Any]:
    """Answer `id` (None: no such image, or no Docker yet) and `context`, the digest of what a step built it from."""
    return _facts(inspect(params["reference"]))


def probe_all(many: Sequence[Dict[str, Any]]) -> List[Dict[str, Any]]:
    """The facts of each, by one docker where it has every image. Raises ProbeError where it lacks one."""
    answer = ask(["docker", "image", "inspect", "--", *(params["reference"] for params in many)])
    if answer.status:
        raise ProbeError("not all of the images are here")
    return [_facts(found) for found in json.loads(answer.stdout)]


def _facts(found: Any) -> Dict[str, Any]:
    if found is None:
        return {"id": None, "context": None}
    labels = (found.get("Config") or {}).get("Labels") or {}
    return {"id": found["Id"], "context": labels.get(LABEL)}


def inspect(reference: str) -> Any:
    """What Docker knows of an image; None when the host does not have it. Raises ProbeError: Docker does not answer."""
    answer = ask(["docker", "image", "inspect", "--", reference])
    if answer.status == 0:
        return json.loads(answer.stdout)[0]
    if answer.status == NOT_FOUND or "no such image" in answer.stderr.lower():
        return None
    raise ProbeError("docker image inspect {}: {}".format(reference, answer.stderr.strip()))


def apply(params: Dict[str, Any], run: Run) -> None:
    """Pull, or build and remove all but the newest tags of the same name. Raises StepError."""
    reference = params["reference"]
    if "files" not in params:
        run.command(["docker", "pull", "--quiet", "--", reference])
        return
    argv = ["docker", "build", "--tag", reference, "--label", "{}={}".format(LABEL, params["context"])]
    for name, value in sorted(params["args"].items()):
        argv += ["--build-arg", "{}={}".format(name, value)]
    run.command([*argv, "-"], stdin=context_tar(params["files"]), env={"BUILDKIT_PROGRESS": "plain"})
    if probe(params)["context"] != params["context"]:
        raise StepError("docker build ended well, yet {} is not the image it should be".format(reference))
    _prune(reference.rpartition(":")[0], reference, run)


def context_tar(contents: List[Dict[str, Any]]) -> bytes:
    """The build context: the same bytes for the same files, so that layers stay cached."""
    import base64
    import io
    import tarfile

    stream = io.BytesIO()
    with tarfile.open(fileobj=stream, mode="w", format=tarfile.PAX_FORMAT) as archive:
        for item in sorted(contents, key=lambda item: str(item["path"])):
            data = base64.b64decode(item["content_base64"])
            entry = tarfile.TarInfo(item["path"])
            entry.size, entry.mode = len(data), int(item["mode"], 8)
            archive.addfile(entry, io.BytesIO(data))
    return stream.getvalue()


def _prune(name: str, kept: str, run: Run) -> None:
    """Remove older tags that a step built; Docker refuses those that a container uses, and that is right."""
    argv = ["docker", "image", "ls", "--filter", "label=" + LABEL, "--format", "{{.Repository}}:{{.Tag}}", "--", name]
    newest_first = [line for line in ask(argv).stdout.split() if not line.endswith(":<none>") and line != kept]
    for tag in newest_first[KEPT_TAGS - 1 :]:
        if ask(["docker", "image", "rm", "--", tag]).status == 0:
            run.say("removed {}".format(tag))
