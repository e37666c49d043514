"""The jobs of a CI that a fleet gets: by the linters of GitHub's workflows and by GitLab's own schema."""

from __future__ import annotations

import re
import shutil
import subprocess
import sys
from pathlib import Path

import pytest
import yaml

from otobotctl.cli.main import main
from otobotctl.data import data_dir

JOBS = {"github": ".github/workflows/otobotctl.yml", "gitlab": ".gitlab-ci.yml"}


def tool(name: str) -> str:
    """Where pip has put a program: beside the Python that runs this."""
    found = shutil.which(name, path=str(Path(sys.executable).parent))
    assert found, f"{name} is not installed: scripts/setup dev"
    return found


@pytest.fixture
def fleet(tmp_path, monkeypatch, capsys):
    """A fleet with the jobs of both, made by the command."""
    monkeypatch.setenv("HOME", str(tmp_path / "home"))
    (tmp_path / "home").mkdir()
    for name in JOBS:
        assert main(["init", str(tmp_path / "fleet"), "--ci", name]) == 0
    capsys.readouterr()
    return tmp_path / "fleet"


@pytest.mark.parametrize("name", JOBS)
def test_init_writes_the_jobs_and_keeps_what_is_there(fleet, name, capsys):
    """The template as it is; a second call leaves an edited file alone."""
    path = fleet / JOBS[name]
    assert path.read_bytes() == (data_dir("templates") / "ci" / f"{name}.yml").read_bytes()
    path.write_text("mine\n")
    assert main(["init", str(fleet), "--ci", name]) == 0
    assert path.read_text() == "mine\n"
    assert "was there already" in capsys.readouterr().err


def test_the_workflow_passes_actionlint(fleet):
    """No finding; a broken expression has one, or it would prove nothing."""
    path = fleet / JOBS["github"]
    lint = [tool("actionlint"), "-no-color", "-shellcheck=", "-pyflakes=", str(path)]
    done = subprocess.run(lint, capture_output=True, text=True, check=False)
    assert (done.returncode, done.stdout) == (0, ""), done.stdout
    path.write_text(path.read_text().replace("github.run_id", "github.no_such_thing"))
    assert "no_such_thing" in subprocess.run(lint, capture_output=True, text=True, check=False).stdout


@pytest.mark.parametrize(
    ("name", "schema", "more", "good", "bad"),
    [
        ("github", "vendor.github-workflows", [], "runs-on:", "runs-of:"),
        ("gitlab", "vendor.gitlab-ci", ["--data-transform", "gitlab-ci"], "action: verify", "action: sing"),
    ],
)
def test_the_jobs_are_of_their_schema(fleet, name, schema, more, good, bad):
    """The published schemas, as check-jsonschema brings them along; a mistake is found."""
    path = fleet / JOBS[name]
    argv = [tool("check-jsonschema"), "--builtin-schema", schema, *more, str(path)]
    done = subprocess.run(argv, capture_output=True, text=True, check=False)
    assert done.returncode == 0, done.stdout + done.stderr
    assert good in path.read_text()
    path.write_text(path.read_text().replace(good, bad))
    assert subprocess.run(argv, capture_output=True, text=True, check=False).returncode == 1


def scripts(name: str) -> list[str]:
    """Every piece of shell in the jobs."""
    jobs = yaml.safe_load((data_dir("templates") / "ci" / f"{name}.yml").read_text())
    if name == "github":
        return [step["run"] for job in jobs["jobs"].values() for step in job["steps"] if "run" in step]
    shells = [job for job in jobs.values() if isinstance(job, dict)]
    return [line for job in shells for key in ("before_script", "script") for line in job.get(key, [])]


@pytest.mark.parametrize("name", JOBS)
def test_their_shell_is_shell_and_names_commands_that_exist(name):
    """Each script parses; each otobotctl command in it has a help, and takes the options that it is given."""
    found = scripts(name)
    assert any("deploy --all --yes --json" in script for script in found)
    for script in found:
        subprocess.run(["bash", "-n"], input=script, text=True, check=True)
    calls = {call for script in found for call in re.findall(r"otobotctl ([a-z][a-z -]*[a-z])", script)}
    assert len(calls) >= 4
    for call in calls:
        words = [word for word in call.split() if not word.startswith("-")]
        argv = [sys.executable, "-m", "otobotctl", *words, "--help"]
        done = subprocess.run(argv, capture_output=True, text=True, check=False)
        assert done.returncode == 0, call
        for option in {word for word in call.split() if word.startswith("--")} - {"--yes", "--json"}:
            assert option in done.stdout, (call, option)


def test_actions_are_pinned_and_keys_reach_only_the_steps_that_need_them():
    """A tag can be moved; an install step that has the keys would hand them to whatever is installed."""
    text = (data_dir("templates") / "ci/github.yml").read_text()
    used = re.findall(r"uses: (\S+)", text)
    assert used
    assert all(re.fullmatch(r"[a-z-]+/[a-z-]+@[0-9a-f]{40}", each) for each in used)
    for job in yaml.safe_load(text)["jobs"].values():
        assert "env" not in job
        for step in job["steps"]:
            if any("secrets." in str(value) for value in step.get("env", {}).values()):
                assert "otobotctl " in step["run"]
                assert "pip install" not in step["run"]
