"""The agent's half of `authorized_key`, in a home on a real file system."""

from __future__ import annotations

import base64
import os
import pwd
import stat

import pytest

from otobotctl.agent.kinds import authorized_key
from otobotctl.agent.run import ProbeError, Run, StepError
from otobotctl.plan.kinds.authorized_key import AuthorizedKeySpec


def key(number, comment="it@otobot"):
    blob = b"\x00\x00\x00\x0bssh-ed25519\x00\x00\x00\x20" + bytes([number]) * 32
    return f"ssh-ed25519 {base64.b64encode(blob).decode()} {comment}"


@pytest.fixture
def home(tmp_path, monkeypatch):
    """A user `app` whose home is a fresh directory."""
    real = pwd.getpwuid(os.geteuid())
    fields = ("app", "x", real.pw_uid, real.pw_gid, "", str(tmp_path / "home"), "/bin/sh")
    user = pwd.struct_passwd(fields)
    monkeypatch.setattr(pwd, "getpwnam", {"app": user}.__getitem__)
    (tmp_path / "home").mkdir()
    return tmp_path / "home"


def spec(number=1, comment="it@otobot", options="", **more):
    return AuthorizedKeySpec(user="app", key=f"{options} {key(number, comment)}".strip(), **more)


def converge(wanted):
    authorized_key.apply(wanted.wire(), Run(lambda line: None))
    return wanted.compare(authorized_key.probe(wanted.question()))


def write(home, text, mode=0o600):
    (home / ".ssh").mkdir(mode=0o700, exist_ok=True)
    path = home / ".ssh/authorized_keys"
    path.write_text(text)
    path.chmod(mode)
    return path


def test_from_an_empty_home(home):
    """The folder is 0700, the file 0600 and the user's; a second time nothing differs."""
    assert spec().compare(authorized_key.probe(spec().question())) != ()
    assert converge(spec()) == ()
    assert converge(spec()) == ()
    assert (home / ".ssh/authorized_keys").read_text() == key(1) + "\n"
    assert stat.S_IMODE((home / ".ssh").stat().st_mode) == 0o700
    assert stat.S_IMODE((home / ".ssh/authorized_keys").stat().st_mode) == 0o600


def test_other_keys_and_their_comments_stay(home):
    """Only one line is added, even where the last one had no newline."""
    path = write(home, f"# mine\n{key(2)}")
    assert converge(spec()) == ()
    assert path.read_text() == f"# mine\n{key(2)}\n{key(1)}\n"


def test_the_same_key_keeps_its_options_and_comment(home):
    """A key restricted on the host stays restricted."""
    held = 'from="10.0.0.0/8",command="echo \\"ssh-ed25519 x\\"" ' + key(1, "other name")
    path = write(home, held + "\n")
    assert converge(spec()) == ()
    assert path.read_text() == held + "\n"


def test_options_that_the_playbook_gives_replace_those_of_the_host(home):
    """The line is replaced in its place, and twice the same key becomes once."""
    path = write(home, f"{key(1)}\n{key(2)}\n{key(1)}\n")
    wanted = spec(options='restrict,command="uptime now"')
    assert wanted.compare(authorized_key.probe(wanted.question())) != ()
    assert converge(wanted) == ()
    assert path.read_text() == f'restrict,command="uptime now" {key(1)}\n{key(2)}\n'


def test_absent_takes_one_key_away(home):
    """The others stay; a user or a home that is not there is no work."""
    path = write(home, f"{key(1)}\n# note\n{key(2)}\n")
    assert converge(spec(state="absent")) == ()
    assert path.read_text() == f"# note\n{key(2)}\n"
    assert converge(spec(state="absent")) == ()
    assert converge(AuthorizedKeySpec(user="ghost", key=key(1), state="absent")) == ()


def test_a_file_open_to_others_is_closed(home):
    """0644 is noticed, and put right without a change of the keys."""
    path = write(home, key(1) + "\n", mode=0o644)
    assert spec().compare(authorized_key.probe(spec().question()))[0].what == "mode"
    assert converge(spec()) == ()
    assert path.read_text() == key(1) + "\n"


def test_two_keys_do_not_disturb_each_other(home):
    """Adding one key moves no fact that counts of the other, so the second step of a stage is not taken for drift."""
    from otobotctl.agent.protocol import facts_digest

    write(home, key(3) + "\n", mode=0o644)
    before = facts_digest(authorized_key.probe(spec(2).question()))
    assert converge(spec(1)) == ()
    assert facts_digest(authorized_key.probe(spec(2).question())) == before


def test_a_symlink_as_the_folder_is_refused(home, tmp_path):
    """Root writes nothing into what the user points to."""
    (tmp_path / "victim").mkdir()
    (home / ".ssh").symlink_to(tmp_path / "victim")
    with pytest.raises(ProbeError, match="refused"):
        authorized_key.probe(spec().question())
    with pytest.raises(StepError, match="refused"):
        authorized_key.apply(spec().wire(), Run(lambda line: None))
    assert list((tmp_path / "victim").iterdir()) == []


@pytest.mark.parametrize("plant", ["symlink", "hard link", "fifo", "directory"])
def test_a_file_that_is_not_the_users_own_is_refused(home, tmp_path, plant):
    """Neither its content nor its place is given to the user, and no FIFO hangs the run."""
    victim = tmp_path / "shadow"
    victim.write_text("root:secret\n")
    (home / ".ssh").mkdir()
    path = home / ".ssh/authorized_keys"
    {
        "symlink": lambda: path.symlink_to(victim),
        "hard link": lambda: os.link(victim, path),
        "fifo": lambda: os.mkfifo(path),
        "directory": path.mkdir,
    }[plant]()
    with pytest.raises(StepError, match=r"refused to touch|not the user's own"):
        authorized_key.apply(spec().wire(), Run(lambda line: None))
    assert victim.read_text() == "root:secret\n"


def test_a_missing_user_or_home_says_what_to_do(home):
    """Each has its own message."""
    with pytest.raises(StepError, match="add a user step"):
        authorized_key.apply({"user": "ghost", "key": key(1)}, Run(lambda line: None))
    home.rmdir()
    assert authorized_key.probe(spec().question())["present"] is False
    with pytest.raises(StepError, match="has no home directory"):
        authorized_key.apply(spec().wire(), Run(lambda line: None))


@pytest.mark.skipif(os.geteuid() != 0, reason="only root acts for another user")
def test_what_is_made_belongs_to_the_user(home, monkeypatch):
    """Folder and file are the user's, though root made them."""
    user = pwd.struct_passwd(("app", "x", 54321, 54322, "", str(home), "/bin/sh"))
    monkeypatch.setattr(pwd, "getpwnam", {"app": user}.__getitem__)
    assert converge(spec()) == ()
    for path in (home / ".ssh", home / ".ssh/authorized_keys"):
        assert (path.stat().st_uid, path.stat().st_gid) == (54321, 54322)


@pytest.mark.parametrize(
    ("line", "expected"),
    [
        ("", ("", "")),
        ("# ssh-ed25519 AAAA", ("", "")),
        ("ssh-ed25519 AAAA me", ("", "AAAA")),
        ("  ssh-rsa\tAAAA", ("", "AAAA")),
        ('command="ssh-rsa BBBB",no-pty ssh-rsa AAAA', ('command="ssh-rsa BBBB",no-pty', "AAAA")),
        ("sk-ssh-ed25519@openssh.com AAAA", ("", "AAAA")),
        ("ssh-rsa", ("", "")),
        ("garbage here", ("", "")),
    ],
)
def test_lines_are_read_as_sshd_reads_them(line, expected):
    """Options may hold spaces in quotes, and even something that looks like a key."""
    assert authorized_key.split(line) == expected
