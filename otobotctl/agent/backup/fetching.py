"""Images that a drill elsewhere lacks: pulled, or built from a context that came over the line, and removed again."""

from __future__ import annotations

import contextlib
import os
import subprocess
import time
from typing import Any, Callable, Dict, List

from otobotctl.agent import files
from otobotctl.agent.backup.throwaway import DrillError
from otobotctl.agent.kinds.docker_image import LABEL, context_tar, inspect
from otobotctl.agent.lines import canonical, decode
from otobotctl.agent.run import environment, last_words
from otobotctl.agent.shell import ask

_FETCH_S = 1800.0


class Images:
    """What one drill runs. `note` is where images that were not here before are written down, before they are.

    `built` are, by service, the images that hosts build: reference and files.
    """

    def __init__(self, note: str, built: Dict[str, Any], say: Callable[[Dict[str, Any]], None]) -> None:
        self.fetched: List[Dict[str, Any]] = []
        self._note, self._built, self._say = note, built, say

    def ready(self, service: str, reference: str) -> str:
        """Have an image for a service, the archive's own where that can be had; return what it is called.

        Raises:
            DrillError: it can be neither pulled nor built. ProbeError: Docker does not answer.
        """
        built = self._built.get(service)
        if inspect(reference) is not None:
            return reference
        chosen = str(built["reference"]) if built else reference
        if inspect(chosen) is None:
            self._say({"fetching": chosen})
            self._remember(chosen)
            began = time.time()
            if built:
                self._build(chosen, built)
            else:
                self._pull(chosen)
            self.fetched.append({"image": chosen, "took_s": round(time.time() - began, 3)})
        return chosen

    def remove(self) -> None:
        """Remove what was brought; what a container uses meanwhile stays."""
        for reference in self._brought():
            ask(["docker", "image", "rm", "--", reference], timeout_s=_FETCH_S)
        with contextlib.suppress(OSError):
            os.unlink(self._note)

    def _brought(self) -> List[str]:
        try:
            return list(decode(files.read(self._note) or b"[]"))
        except (OSError, ValueError):
            return []

    def _remember(self, reference: str) -> None:
        user, group = files.me()
        files.write(self._note, canonical([*self._brought(), reference]).encode(), 0o600, user, group)

    def _pull(self, reference: str) -> None:
        answer = ask(["docker", "pull", "--quiet", "--", reference], timeout_s=_FETCH_S)
        if answer.status:
            raise DrillError("{} cannot be pulled: {}".format(reference, last_words(answer.stderr.encode())))

    def _build(self, reference: str, built: Dict[str, Any]) -> None:
        argv = ["docker", "build", "--tag", reference, "--label", "{}=drill".format(LABEL), "-"]
        variables = environment(BUILDKIT_PROGRESS="plain")
        done = subprocess.run(
            argv, input=context_tar(built["files"]), stdout=subprocess.DEVNULL, stderr=subprocess.PIPE, env=variables,
            check=False,
        )  # fmt: skip
        if done.returncode:
            raise DrillError("{} cannot be built: {}".format(reference, last_words(done.stderr)))
