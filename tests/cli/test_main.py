"""The command line's contract: exit codes, the envelope, help, options that may stand anywhere."""

import json
import subprocess
import sys

import pytest

from otobotctl import errors
from otobotctl.cli import main as cli
from otobotctl.cli import output

COMMANDS = [
    ("init",),
    ("status",),
    ("exec",),
    ("ssh",),
    ("audit",),
    ("manifest", "validate"),
    ("manifest", "schema"),
    *(("host", verb) for verb in ("add", "list", "remove", "trust", "facts", "plan", "apply", "drift")),
    *(
        ("client", verb)
        for verb in ("create", "list", "show", "guide", "render", "diff", "deploy", "export", "destroy", "remove")
    ),
    *(("n8n", verb) for verb in ("export", "import")),
    *(("secrets", verb) for verb in ("list", "status", "show", "set", "rotate", "escrow")),
    *(("secrets", "recipients", verb) for verb in ("list", "add", "remove")),
]


@pytest.mark.parametrize("command", COMMANDS, ids=" ".join)
def test_every_command_has_help_with_an_example(command, capsys):
    """`--help` says what a command does and shows one that works."""
    assert cli.main([*command, "--help"]) == 0
    told = " ".join(capsys.readouterr().out.split())
    assert f"Example: otobotctl {' '.join(command)}" in told or f"| otobotctl {' '.join(command)}" in told


def test_no_command_is_left_out_of_the_help_test(capsys):
    """The list above is the whole tree."""
    nouns = {"manifest", "host", "client", "n8n", "secrets"}
    shown = {}
    for noun in nouns:
        cli.main([noun, "--help"])
        text = capsys.readouterr().out
        shown[noun] = {
            line.split()[0]
            for line in text.split("Commands:")[1].splitlines()
            if line.startswith("  ") and line[2] != " "
        }
    assert {(noun, verb) for noun, verbs in shown.items() for verb in verbs} == {c[:2] for c in COMMANDS if len(c) > 1}


@pytest.mark.parametrize(
    ("given", "wanted"),
    [
        (["client", "list", "--json"], ["--json", "client", "list"]),
        (["host", "apply", "a", "--fleet", "/f", "-y"], ["--fleet", "/f", "-y", "host", "apply", "a"]),
        (["x", "--fleet=/f", "--", "--json"], ["--fleet=/f", "x", "--", "--json"]),
        (["x", "--fleet"], ["x", "--fleet"]),
    ],
)
def test_global_options_may_stand_anywhere(given, wanted):
    """They are moved to the front, and nothing behind `--` is touched."""
    assert cli.hoist(given) == wanted


def test_usage_error_is_2(capsys):
    """An unknown option is exit code 2 and one message on stderr."""
    assert cli.main(["client", "list", "--nonsense"]) == 2
    streams = capsys.readouterr()
    assert streams.out == ""
    assert "--nonsense" in streams.err


def test_no_fleet_says_how_to_make_one(tmp_path, monkeypatch, capsys):
    """Outside any fleet the hint is the command that makes one."""
    monkeypatch.chdir(tmp_path)
    monkeypatch.delenv("OTOBOTCTL_FLEET", raising=False)
    assert cli.main(["client", "list"]) == 2
    assert "otobotctl init" in capsys.readouterr().err


def test_json_failure_is_an_envelope(tmp_path, capsys):
    """With --json an error is on stdout as data, with its code, message and hint."""
    code = cli.main(["client", "list", "--json", "--fleet", str(tmp_path / "none")])
    found = json.loads(capsys.readouterr().out)
    assert found["version"] == output.JSON_VERSION
    assert found["ok"] is False
    assert found["error"]["code"] == code != 0
    assert found["error"]["message"]


@pytest.mark.parametrize(
    ("error", "code"),
    [
        (errors.OtobotError, 1),
        (errors.StepFailedError, 1),
        (errors.UsageError, 2),
        (errors.PartialError, 3),
        (errors.DriftError, 4),
        (errors.ManifestError, 10),
        (errors.LockedError, 11),
        (errors.HostKeyError, 12),
        (errors.HostUnreachableError, 13),
        (errors.InterruptedRunError, 130),
    ],
)
def test_each_error_has_its_exit_code(error, code, monkeypatch, capsys):
    """What a workflow raises is what the shell sees, with details and hint."""

    def fails(_arguments):
        raise error("it happened", hint="do this", details=["line one"])

    monkeypatch.setattr(cli, "_run", fails)
    assert cli.main([]) == code
    told = capsys.readouterr().err
    assert "error: it happened" in told
    assert "line one" in told
    assert "do this" in told


def test_a_defect_is_told_in_one_line_without_its_message(monkeypatch, capsys):
    """An exception of ours could quote a secret: only its type and place are told."""

    def fails(_arguments):
        raise ValueError("hunter2")

    monkeypatch.setattr(cli, "_run", fails)
    assert cli.main([]) == 1
    told = capsys.readouterr()
    assert "ValueError at test_main.py" in told.err
    assert "hunter2" not in told.err + told.out
    assert "Traceback" not in told.err


def test_ctrl_c_is_130(tmp_path):
    """SIGINT in a running command ends it with 130 and says to run it again."""
    program = (
        "import os, signal, sys, time\n"
        "from otobotctl.cli import main as cli\n"
        "def wait(_arguments):\n"
        "    os.kill(os.getpid(), signal.SIGINT)\n"
        "    time.sleep(60)\n"
        "cli._run = wait\n"
        "sys.exit(cli.main([]))\n"
    )
    done = subprocess.run([sys.executable, "-c", program], capture_output=True, text=True, timeout=120, check=False)
    assert done.returncode == 130
    assert "run the same command again" in done.stderr


LEFT_AT_WORK = """
import atexit, sys, threading, time
import pyrage
from otobotctl.cli import main as cli

class Slow:
    def read(self, size):
        inside.set()
        time.sleep(0.2)
        return b"a host's data"
    def write(self, data):
        return len(data)
    def flush(self):
        pass
class Late:
    def __del__(self):
        time.sleep(2)  # as the end of a larger process takes a while

inside = threading.Event()
recipient = pyrage.x25519.Identity.generate().to_public()
threading.Thread(target=lambda: pyrage.encrypt_io(Slow(), Slow(), [recipient]), daemon=True).start()
inside.wait()
sys.modules["late"] = Late()
atexit.register(lambda: sys.stderr.write("removed what was temporary"))
cli.main = lambda argv: sys.stdout.write("told") and 130
cli.entry()
"""


def test_an_archive_that_is_being_written_does_not_abort_the_process_after_ctrl_c():
    """A host's thread is left where it is: woken up by Python's end inside age, it ended the process by SIGABRT."""
    done = subprocess.run(
        [sys.executable, "-c", LEFT_AT_WORK], capture_output=True, text=True, timeout=120, check=False
    )
    assert (done.returncode, done.stdout, done.stderr) == (130, "told", "removed what was temporary")


def test_a_closed_pipe_is_not_a_traceback(tmp_path):
    """`otobotctl manifest schema | head -1` ends quietly."""
    command = f"{sys.executable} -m otobotctl manifest schema | head -1"
    done = subprocess.run(["bash", "-c", command], capture_output=True, text=True, timeout=120, check=False)
    assert done.stdout.strip() == "{"
    assert done.stderr == ""


def test_help_imports_nothing_heavy():
    """Start-up stays lazy: help loads no template engine, no HTTP client, no models."""
    program = (
        "import sys\nfrom otobotctl.cli.main import main\nmain(['--help'])\n"
        "heavy = {'jinja2', 'yaml', 'httpx', 'msgspec', 'jsonschema', 'pyrage', 'rich', 'pydantic'} & set(sys.modules)\n"
        "sys.exit(f'imported: {heavy}' if heavy else 0)\n"
    )
    done = subprocess.run([sys.executable, "-c", program], capture_output=True, text=True, timeout=120, check=False)
    assert done.returncode == 0, done.stderr
