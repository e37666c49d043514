"""Keys that a CI gives in variables."""

import base64
import stat
import subprocess
from pathlib import Path

import pyrage
import pytest

from otobotctl.errors import UsageError
from otobotctl.secrets import keys
from otobotctl.transport import given, program
from otobotctl.transport.local import LocalDoor
from tests.waiting import until


@pytest.fixture
def key(tmp_path):
    """A private SSH key."""
    subprocess.run(["ssh-keygen", "-q", "-t", "ed25519", "-N", "", "-f", str(tmp_path / "key")], check=True)
    return (tmp_path / "key").read_text()


@pytest.mark.parametrize(
    "spoil",
    [lambda key: key, str.strip, lambda key: key.replace("\n", "\r\n"), lambda key: key.strip().replace("\n", "\\n")],
)
def test_a_key_is_given_to_ssh_whole_and_for_nobody_else(monkeypatch, key, spoil):
    """Whatever the CI has made of its line ends: ssh's own program reads it, from a file with mode 0600 in memory."""
    monkeypatch.setenv("OTOBOTCTL_SSH_KEY", spoil(key))
    path = given.identity()
    assert path.read_text() == key
    assert stat.S_IMODE(path.stat().st_mode) == 0o600
    public = subprocess.run(["ssh-keygen", "-y", "-f", str(path)], capture_output=True, text=True, check=True).stdout
    assert public.startswith("ssh-ed25519 ")
    assert "memfd:" in str(path.readlink())


def test_a_key_may_be_a_file(monkeypatch, tmp_path, key):
    """As it is; none given is none."""
    monkeypatch.setenv("OTOBOTCTL_SSH_KEY", str(tmp_path / "key"))
    assert given.identity() == tmp_path / "key"
    monkeypatch.setenv("OTOBOTCTL_SSH_KEY", " ")
    assert given.identity() is None


@pytest.mark.parametrize(
    "said", ["/no/such/file", "nonsense", "-----BEGIN OPENSSH PRIVATE KEY-----\nabc", "abc" * 200, "~abc"]
)
def test_what_is_no_key_is_refused_without_being_shown(monkeypatch, said):
    """The message names the variable alone; also where a key in base64 is longer than a file's name may be."""
    monkeypatch.setenv("OTOBOTCTL_SSH_KEY", said)
    with pytest.raises(UsageError, match="OTOBOTCTL_SSH_KEY") as refused:
        given.identity()
    assert "abc" not in refused.value.message + str(refused.value.hint)


@pytest.mark.parametrize("name", ["OTOBOTCTL_AGE_KEY", "OTOBOTCTL_IDENTITY"])
def test_a_key_that_is_taken_for_a_files_name_is_not_shown(monkeypatch, key, name):
    """In base64, as CIs keep files, it is one line, and longer than a name may be."""
    secret = base64.b64encode(key.encode()).decode()
    monkeypatch.setenv(name, secret)
    with pytest.raises(UsageError, match=name) as refused:
        keys.load(keys.identities())
    assert secret[:20] not in refused.value.message + str(refused.value.hint)


def test_no_program_inherits_the_keys(monkeypatch, tmp_path):
    """Neither ssh nor a hook, nor what runs on this machine as on a host."""
    monkeypatch.setenv("OTOBOTCTL_SSH_KEY", "hidden1")
    monkeypatch.setenv("OTOBOTCTL_AGE_KEY", "hidden2")
    said = []
    assert program.run(["env"], tmp_path, {"OTOBOT_CLIENT": "acme"}, 60, said.append) == ""
    assert "OTOBOT_CLIENT=acme" in said
    channel = LocalDoor().execute(("env",))
    here = [line.decode() for line in channel.lines()]
    channel.close()
    assert [line for line in here if line.startswith("PATH=")]
    assert not [line for line in (*said, *here) if "hidden" in line]


def test_a_program_that_fails_or_does_not_end(tmp_path):
    """Why, in words; all that it started is ended with it."""
    said = []
    assert program.run(["sh", "-c", "echo a; echo b >&2; exit 3"], tmp_path, {}, 60, said.append) == "sh ended with 3"
    assert sorted(said) == ["a", "b"]
    assert (
        program.run(["/no/such"], tmp_path, {}, 60, said.append) == "/no/such cannot be run: No such file or directory"
    )
    late = program.run(["sh", "-c", "sleep 600 & echo $!; wait"], tmp_path, {}, 0.5, said.append)
    assert late == "sh did not end within 0.5 s"
    until(lambda: not alive(int(said[-1])), "the end of what it had started")


def alive(pid: int) -> bool:
    """Whether a process runs; one that nobody has waited for does not."""
    try:
        return Path(f"/proc/{pid}/stat").read_text().rpartition(")")[2].split()[0] != "Z"
    except OSError:
        return False


def test_what_a_program_leaves_running_does_not_hold_it(tmp_path):
    """A daemon of its own session keeps the pipe open: the program has ended, and what it said until then is told."""
    said = []
    script = "setsid sleep 600 & echo $! > daemon; echo told; exit 3"
    try:
        assert program.run(("sh", "-c", script), tmp_path, {}, 60, said.append) == "sh ended with 3"
        assert said == ["told"]
    finally:
        subprocess.run(("kill", (tmp_path / "daemon").read_text().strip()), check=True)


def test_an_age_key_in_a_variable_is_the_only_one(monkeypatch, tmp_path):
    """As age-keygen prints it, on one line, or the name of a file; no other key is looked for then."""
    identity = pyrage.x25519.Identity.generate()
    text = f"# created: today\n# public key: {identity.to_public()}\n{identity}\n"
    (tmp_path / "file").write_text(text)
    for said in (text, text.strip().replace("\n", "\\n"), str(identity), str(tmp_path / "file")):
        monkeypatch.setenv("OTOBOTCTL_AGE_KEY", said)
        assert keys.identities(home=tmp_path) == ()
        found, notes = keys.load(())
        sealed = pyrage.encrypt(b"text", [identity.to_public()])
        assert (pyrage.decrypt(sealed, found), notes) == (b"text", ())
    monkeypatch.setenv("OTOBOTCTL_AGE_KEY", "AGE-SECRET-KEY-NOT-ONE")
    with pytest.raises(UsageError, match="OTOBOTCTL_AGE_KEY") as refused:
        keys.load(())
    assert "NOT-ONE" not in refused.value.message


def test_an_ssh_key_on_one_line_is_an_age_key_too(monkeypatch, key):
    """With its line ends written out, it is longer than a file's name may be."""
    monkeypatch.setenv("OTOBOTCTL_AGE_KEY", key.strip().replace("\n", "\\n"))
    found, _ = keys.load(())
    assert len(found) == 1
