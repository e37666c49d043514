"""The jobs that `init --ci` writes, run as their runners run them: each step a bash of its own in a clone of the fleet.

A runner cannot be had. What stands in for one: a checkout made by git, an empty home, no agent, no terminal, nothing but
the job's own variables; `pip install` is answered by this checkout, and GitHub's `gh` by a program that writes down what
it was asked. Everything else is what the file says.
"""

from __future__ import annotations

import http.server
import os
import re
import subprocess
import sys
import threading
from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from dataclasses import dataclass, field
from pathlib import Path

import yaml

ROOT = Path(__file__).resolve().parents[2]
LIMIT_S = 600
_PYTHON = """#!/bin/sh
# A runner's Python, for which this checkout is installed already.
[ "$1 $2 $3" = "-m pip install" ] || exec "{python}" "$@"
echo "$@" >> "{notes}/installed"
"""
_OTOBOTCTL = """#!/bin/sh
PYTHONPATH="{root}" exec "{python}" -m otobotctl "$@"
"""
_GH = """#!/bin/sh
# Nobody has commented yet: --edit-last fails, as gh's does.
[ -n "$GH_TOKEN" ] && [ -n "$GH_REPO" ] || exit 4
case "$*" in *--edit-last*) echo "no comments found" >&2; exit 1 ;; esac
echo "$@" > "{notes}/gh"
cp comment.md "{notes}/comment"
"""
_APT = """#!/bin/sh
echo "$@" >> "{notes}/apt"
"""
_SHIMS = {"python": _PYTHON, "otobotctl": _OTOBOTCTL, "gh": _GH, "apt-get": _APT}


def git(*words: str, cwd: Path) -> str:
    """Run git as somebody without a configuration of his own; return what it says."""
    who = ("-c", "user.name=Runner", "-c", "user.email=ci@acme.example", "-c", "init.defaultBranch=main")
    environment = {"PATH": os.environ["PATH"], "HOME": str(cwd), "GIT_CONFIG_NOSYSTEM": "1"}
    argv = ["git", *who, *words]
    return subprocess.run(
        argv, cwd=cwd, env=environment, check=True, capture_output=True, text=True, timeout=120
    ).stdout


@dataclass(frozen=True)
class Ran:
    """How a job ended: the exit status of each step that ran, by its name, and all that was said."""

    steps: Mapping[str, int]
    said: str

    @property
    def status(self) -> int:
        """The first that is not 0."""
        return next((status for status in self.steps.values() if status), 0)


@dataclass
class Runner:
    """A machine of a CI. `variables` are what a person has set there; `folder` is the checkout."""

    folder: Path
    place: Path
    variables: Mapping[str, str]
    more: dict[str, str] = field(default_factory=dict)

    @classmethod
    def cloned(cls, fleet: Path, place: Path, variables: Mapping[str, str], more: dict[str, str]) -> Runner:
        """Check the fleet's repository out."""
        (place / "home").mkdir(parents=True)
        (place / "bin").mkdir()
        (place / "notes").mkdir()
        for name, text in _SHIMS.items():
            path = place / "bin" / name
            path.write_text(text.format(python=sys.executable, root=ROOT, notes=place / "notes"))
            path.chmod(0o755)
        (place / "ssh_config").write_text("")
        git("clone", "--quiet", str(fleet), str(place / "checkout"), cwd=place)
        return cls(place / "checkout", place, variables, more)

    def note(self, name: str) -> str:
        """What a stand-in was asked for; "" where it never was."""
        path = self.place / "notes" / name
        return path.read_text() if path.exists() else ""

    def github(self, job: str) -> Ran:
        """Run a job of the workflow: its steps in order, and after one that failed those that are for always."""
        steps = yaml.safe_load((self.folder / ".github/workflows/otobotctl.yml").read_text())["jobs"][job]["steps"]
        steps_ran: dict[str, int] = {}
        said = ""
        for step in (each for each in steps if "run" in each):
            if not self._due(step.get("if", ""), failed=any(steps_ran.values())):
                continue
            given = {name: self._evaluated(value) for name, value in step.get("env", {}).items()}
            summary = {"GITHUB_STEP_SUMMARY": str(self.place / "notes/summary"), "CI": "true"}
            # What a runner does with a step that names no shell.
            done = self._bash(["bash", "-e", "-c", step["run"]], {**summary, **given})
            steps_ran[step["name"]] = done.returncode
            said += done.stdout + done.stderr
        return Ran(steps_ran, said)

    def gitlab(self, job: str) -> Ran:
        """Run a job of the pipeline: what comes before every job, then its own lines, in one shell."""
        jobs = yaml.safe_load((self.folder / ".gitlab-ci.yml").read_text())
        lines = [*jobs["default"]["before_script"], *jobs[job]["script"]]
        given = {"CI": "true", **jobs["variables"], **self.variables, **self.more}
        done = self._bash(["bash", "-c", "set -eo pipefail\n" + "\n".join(lines)], given)
        return Ran({job: done.returncode}, done.stdout + done.stderr)

    def _due(self, condition: str, *, failed: bool) -> bool:
        """The conditions that these files have; another is an error of the test."""
        if not condition:
            return not failed
        always, *rest = condition.split(" && ")
        assert always == "always()", condition
        for each in rest:
            (file,) = re.fullmatch(r"hashFiles\('([^']+)'\) != ''", each).groups()
            if not (self.folder / file).exists():
                return False
        return True

    def _evaluated(self, value: str) -> str:
        def one(found: re.Match[str]) -> str:
            where, _, name = found[1].partition(".")
            return self.variables[name] if where in {"secrets", "vars"} else self.more[found[1]]

        return re.sub(r"\$\{\{ ([a-zA-Z_.]+) \}\}", one, str(value))

    def _bash(self, argv: list[str], given: Mapping[str, str]) -> subprocess.CompletedProcess[str]:
        environment = {
            "PATH": f"{self.place / 'bin'}:{os.environ['PATH']}",
            "HOME": str(self.place / "home"),
            "OTOBOTCTL_SSH_CONFIG": str(self.place / "ssh_config"),
            **given,
        }
        return subprocess.run(
            argv,
            cwd=self.folder,
            env=environment,
            stdin=subprocess.DEVNULL,
            capture_output=True,
            text=True,
            timeout=LIMIT_S,
            check=False,
        )


@dataclass
class Notes:
    """GitLab's address for notes, and what came there: the path, the token and the body of each."""

    url: str
    came: list[tuple[str, str | None, str]] = field(default_factory=list)


@contextmanager
def gitlab_api() -> Iterator[Notes]:
    """Stand in for GitLab's API on the loopback."""
    notes = Notes("")

    class Handler(http.server.BaseHTTPRequestHandler):
        def do_POST(self) -> None:
            body = self.rfile.read(int(self.headers["content-length"])).decode()
            notes.came.append((self.path, self.headers["private-token"], body))
            self.send_response(201)
            self.end_headers()

        def log_message(self, *_: object) -> None:
            """Nobody reads it."""

    with http.server.ThreadingHTTPServer(("127.0.0.1", 0), Handler) as server:
        thread = threading.Thread(target=server.serve_forever)
        thread.start()
        notes.url = f"http://127.0.0.1:{server.server_port}/api/v4"
        try:
            yield notes
        finally:
            server.shutdown()
            thread.join()
