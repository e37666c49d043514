"""What a service watches, and how systemd's words are read."""

import pytest

from otobotctl.agent import systemd
from otobotctl.agent.kinds import service
from otobotctl.agent.run import StepError
from otobotctl.agent.shell import Answer


def test_a_digest_moves_with_any_content_below_what_is_watched(tmp_path):
    """A file's content, a new file in a directory, a removed one, a link to other content; not a look or a new mode."""
    folder, file = tmp_path / "conf.d", tmp_path / "main.conf"
    folder.mkdir()
    file.write_text("a")
    paths = [str(folder), str(file)]
    seen = [service.watched_digest(paths)]

    def moved():
        seen.append(service.watched_digest(paths))
        return len(set(seen)) == len(seen)

    file.write_text("b")
    assert moved()
    (folder / "x.conf").write_text("x")
    assert moved()
    (folder / "y.conf").symlink_to(file)
    assert moved()
    file.unlink()
    assert moved()
    (folder / "x.conf").chmod(0o600)
    assert service.watched_digest(list(reversed(paths))) == seen[-1]


def test_show_is_read_line_by_line():
    """Values may hold equals signs."""
    text = "LoadState=loaded\nActiveState=active\nExecStart={ path=/bin/x ; argv[]=/bin/x a=b }\nUnitFileState=\n"
    assert systemd.parse_show(text) == {
        "LoadState": "loaded",
        "ActiveState": "active",
        "ExecStart": "{ path=/bin/x ; argv[]=/bin/x a=b }",
        "UnitFileState": "",
    }


@pytest.mark.parametrize(
    ("load", "told"),
    [
        ("not-found", "no unit x on this host"),
        ("masked", "systemctl unmask x"),
        ("bad-setting", "could not load x"),
    ],
)
def test_units_that_cannot_start_are_refused(load, told):
    """Each with what to do."""
    with pytest.raises(StepError, match=told):
        service._refuse("x", load, "started")


@pytest.mark.parametrize(
    ("active", "changed", "reload", "verb"),
    [
        ("active", False, False, ""),
        ("active", True, False, "restart"),
        ("active", True, True, "reload"),
        ("inactive", True, True, "start"),
        ("failed", False, False, "start"),
        ("activating", False, False, "restart"),
    ],
)
def test_only_what_is_needed_is_done(active, changed, reload, verb):
    """A unit that is not running starts; one that runs is touched only when what it reads has changed."""
    assert service._verb(active, changed, reload) == verb


def test_a_unit_that_stops_right_after_its_start_fails_the_step(monkeypatch):
    """A simple service counts as started before its program has read its configuration."""
    shown = iter(
        [
            "ActiveState=active\nSubState=running\nType=simple\n",
            "ActiveState=activating\nSubState=auto-restart\nType=simple\nResult=exit-code\n",
        ]
    )
    said = []

    def ask(argv):
        return Answer(0, next(shown) if argv[1] == "show" else "the door is stuck\n", "")

    monkeypatch.setattr(systemd, "ask", ask)
    with pytest.raises(StepError, match="exit-code"):
        systemd.settle(systemd.Run(said.append), "x")
    assert "the door is stuck" in said
