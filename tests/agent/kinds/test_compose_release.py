"""Releases on disk and their containers, with a stand-in for docker; the real one is met in tests/e2e."""

import os
import shutil
import tempfile
from pathlib import Path

import pytest

from otobotctl.agent import bringing, compose
from otobotctl.agent.run import StepError
from tests.agent.kinds import releasing
from tests.agent.kinds.releasing import wanted


@pytest.fixture
def memory(tmp_path):
    """A directory in memory where there is one: these tests make and remove thousands of small files."""
    shared = Path("/dev/shm")
    with tempfile.TemporaryDirectory(dir=shared if os.access(shared, os.W_OK) else tmp_path) as folder:
        yield Path(folder)


@pytest.fixture
def host(tmp_path, memory, monkeypatch):
    return releasing.Host(tmp_path, memory, monkeypatch)


def test_a_first_release_comes_up_and_a_second_look_finds_nothing_to_do(host):
    """Files, modes, symlink and containers are right, and a rerun has no change."""
    assert host.changes(wanted(1))[0] == "release"
    host.apply(wanted(1))
    home = host.root / "acme"
    assert host.changes(wanted(1)) == []
    assert host.releases() == ["1"]
    assert (home / "current").readlink() == Path("releases/1")
    assert [oct(path.stat().st_mode & 0o777) for path in (home, home / "releases/1", home / "current/conf")] == [
        "0o700",
        "0o700",
        "0o755",
    ]
    assert oct((home / "current/env/web.env").stat().st_mode & 0o777) == "0o600"
    assert (home / "current/env/web.env").read_text() == "PASSWORD=hidden1\n"
    assert host.calls("pull --quiet -- lab/web:1")


def test_facts_and_words_hold_no_secret(host):
    """The contents of a secret file are in no answer and no output."""
    host.apply(wanted(1))
    facts = releasing.compose_release.probe(wanted(2).question())
    assert "text" not in facts["files"]["env/web.env"]
    assert facts["files"]["conf/site.conf"]["text"] == "server 1;\n"
    assert "hidden" not in repr(facts) + repr(host.said) + repr(wanted(1)) + repr(wanted(2).compare(facts))


def test_five_releases_are_kept(host):
    """The five newest stay, whatever was deployed before."""
    for number in range(1, 8):
        host.apply(wanted(number))
    assert host.releases() == ["3", "4", "5", "6", "7"]
    assert host.current() == "server 7;\n"


def test_a_release_that_compose_refuses_changes_nothing(host):
    """The file is checked before anything is switched, and its message is shown."""
    host.apply(wanted(1))
    with pytest.raises(StepError, match="does not accept"):
        host.apply(wanted(2, invalid=True))
    assert "services.web: no such key" in host.said
    assert host.releases() == ["1"]
    assert host.changes(wanted(1)) == []


def test_a_registry_that_does_not_answer_changes_nothing(host):
    """Images are pulled before anything is switched."""
    host.apply(wanted(1))
    (host.fake / "images").unlink()
    (host.fake / "registry-down").touch()
    with pytest.raises(StepError, match="docker ended with 1"):
        host.apply(wanted(2))
    assert host.releases() == ["1"]
    assert host.changes(wanted(1)) == []


def test_images_are_pulled_side_by_side(host):
    """Each comes only when another one is asked for too; all are there before anything is switched, each asked for once."""
    (host.fake / "together").touch()
    host.apply(wanted(1))
    assert sorted(host.calls("pull")) == [f"pull --quiet -- lab/{name}:1" for name in ("init", "tool", "web")]
    calls = (host.fake / "calls").read_text().splitlines()
    last = max(number for number, call in enumerate(calls) if call.startswith("pull"))
    assert not [call for call in calls[:last] if " up " in call]


def test_an_unhealthy_release_is_taken_back(host):
    """Its logs are shown, the release before is up again, and its own directory is gone."""
    host.apply(wanted(1))
    with pytest.raises(
        StepError,
        match=r"release 2 did not become healthy \(web: unhealthy; docker ended with 1: .*\); release 1 is back and healthy",
    ):
        host.apply(wanted(2, fails=True))
    assert "web | cannot open the door" in host.said
    assert (host.releases(), host.current(), host.containers()) == (["1"], "server 1;\n", {1})
    assert host.changes(wanted(1)) == []
    assert not host.calls("volume rm")


def test_a_first_release_that_is_unhealthy_leaves_nothing_running(host):
    """There is nothing to go back to: containers go, volumes stay."""
    with pytest.raises(StepError, match="none to go back to"):
        host.apply(wanted(1, fails=True))
    assert (host.releases(), host.containers()) == ([], set())
    assert not host.calls("volume rm")
    host.apply(wanted(1))
    assert host.changes(wanted(1)) == []


def test_a_container_that_stopped_is_a_difference_and_comes_up_again(host):
    """The digest matches, and still there is something to do; no new release is made for it."""
    host.apply(wanted(1))
    (host.fake / "ps").write_text("")
    assert host.changes(wanted(1)) == ["service init", "service web"]
    host.apply(wanted(1))
    assert host.changes(wanted(1)) == []
    assert host.releases() == ["1"]


def test_a_file_changed_by_hand_is_a_difference_and_makes_a_new_release(host):
    """Releases are never changed in place."""
    host.apply(wanted(1))
    (host.root / "acme/current/conf/site.conf").write_text("server evil;\n")
    assert host.changes(wanted(1)) == ["conf/site.conf"]
    host.apply(wanted(1))
    assert host.changes(wanted(1)) == []
    assert host.releases() == ["1", "2"]


def test_absent_takes_all_away_but_volumes(host):
    """Volumes go only when asked for."""
    host.apply(wanted(1))
    (host.fake / "volumes").write_text("otobot-acme_data\n")
    gone = releasing.msgspec.convert({"client": "acme", "project": "otobot-acme", "state": "absent"}, type(wanted(1)))
    host.apply(gone)
    assert host.changes(gone) == []
    assert not (host.root / "acme").exists()
    assert not host.calls("volume rm")
    volumes = releasing.msgspec.structs.replace(gone, remove_volumes=True)
    assert host.changes(volumes) == ["volume otobot-acme_data"]
    host.apply(volumes)
    assert host.changes(volumes) == []


def test_killed_anywhere_a_rerun_brings_exactly_one_healthy_release(host, memory):
    """A kill -9 before each change of the host in turn: what is left is never mistaken for done, and a rerun finishes it."""
    host.apply(wanted(1))
    points = 0
    for at in _kill_points(host, memory, wanted(2)):
        points = at
        assert host.current() in ("server 1;\n", "server 2;\n")
        if host.containers() != {2} or host.current() != "server 2;\n":
            assert host.changes(wanted(2))
        if host.containers() != {1} or host.current() != "server 1;\n":
            assert host.changes(wanted(1)), "a mixed host must not look like release 1"
        host.apply(wanted(2))
        assert host.changes(wanted(2)) == []
        assert (host.releases(), host.current(), host.containers()) == (["1", "2"], "server 2;\n", {2})
    assert points > 20


def test_killed_while_going_back_a_rerun_still_goes_back(host, memory):
    """A release that fails and a run that dies on top of it: the next run ends on the healthy release."""
    host.apply(wanted(1))
    for _ in _kill_points(host, memory, wanted(2, fails=True), first=26):
        if host.containers() != {1} or host.current() != "server 1;\n":
            assert host.changes(wanted(1))
        with pytest.raises(StepError, match="release 1 is back and healthy"):
            host.apply(wanted(2, fails=True))
        assert (host.releases(), host.current(), host.containers()) == (["1"], "server 1;\n", {1})
        assert host.changes(wanted(1)) == []


def _kill_points(host, memory, spec, first=1):
    """Yield after a kill at each point in turn, every time from the same host, until a run lives to its end."""
    kept = memory / "kept"
    for folder in (host.root, host.fake):
        shutil.copytree(folder, kept / folder.name, symlinks=True)
    at = first
    while host.apply_killed(spec, at):
        yield at
        at += 1
        for folder in (host.root, host.fake):
            shutil.rmtree(folder)
            shutil.copytree(kept / folder.name, folder, symlinks=True)


@pytest.mark.parametrize(
    ("word", "plain"), [("rm --force new", "old\totobot-acme-web-1\n"), ("rename new otobot-acme-web-1", "")]
)
def test_a_replacement_that_was_cut_off_is_out_of_the_way_before_anything_comes_up(host, word, plain):
    """Compose would make the same name again, which Docker refuses: a deploy after a power cut was taken back for it."""
    host.apply(wanted(1))
    (host.fake / "calls").unlink()
    (host.fake / "listed").write_text(f"new\t0123456789ab_otobot-acme-web-1\n{plain}")
    host.apply(wanted(2))
    calls = (host.fake / "calls").read_text().splitlines()
    assert word in calls[: next(number for number, call in enumerate(calls) if " up " in call)]
    assert not host.calls("volume rm")
    assert host.changes(wanted(2)) == []


def test_what_docker_was_starting_again_before_does_not_fail_a_release(host):
    """After a boot it may only have come before its database: it is stopped, and Compose starts it in its turn."""
    host.apply(wanted(1))
    (host.fake / "restarting").write_text("abc\n")
    (host.fake / "made").write_text("2026-11-21T18:17:01.891010029Z\n")
    host.apply(wanted(2))
    assert host.changes(wanted(2)) == []
    assert host.calls("stop --time 10 abc")


def test_what_ends_again_and_again_since_it_was_made_fails_its_release(host):
    """It is the new one itself: nothing is stopped or tried again for it."""
    host.apply(wanted(1))
    (host.fake / "restarting").write_text("abc\n")
    (host.fake / "made").write_text("2126-11-21T18:17:01.891010029Z\n")
    with pytest.raises(StepError, match="release 2 did not become healthy"):
        host.apply(wanted(2))
    assert not host.calls("stop --time 10 abc")


def test_ps_is_read_as_lines_and_as_an_array():
    """Compose before 2.21 printed one array, later versions one object a line."""
    lines = (
        '{"Service": "web", "State": "running", "Health": ""}\n{"Service": "db", "State": "exited", "ExitCode": 3}\n'
    )
    array = (
        '[{"Service": "web", "State": "running", "Health": ""}, {"Service": "db", "State": "exited", "ExitCode": 3}]'
    )
    assert compose.parse_ps(lines) == compose.parse_ps(array)
    assert compose.service_states(compose.parse_ps(lines)) == {"web": "running", "db": "exited (3)"}
    assert compose.parse_ps("") == compose.parse_ps("[]") == []


def test_a_service_is_as_well_as_its_worst_container():
    """One replica of two that is not healthy is a difference; a one-off container of somebody is none."""
    one = releasing.container("web", 1, health="healthy")
    two = releasing.container("web", 1, health="starting")
    shell = dict(releasing.container("shell", 1), Labels="a=b,com.docker.compose.oneoff=True")
    assert compose.service_states([one, two, shell]) == {"web": "starting"}


@pytest.mark.parametrize(
    ("found", "trouble"),
    [
        ({"web": "healthy", "init": "ended"}, {}),
        ({"web": "running", "init": "ended"}, {}),
        ({"web": "ended", "init": "ended"}, {"web": "ended"}),
        ({"web": "healthy", "init": "exited (1)"}, {"init": "exited (1)"}),
        ({"init": "ended"}, {"web": "absent"}),
        ({"web": "healthy", "init": "ended", "old": "running"}, {"old": "not wanted"}),
        ({"web": "restarting", "init": "running"}, {"web": "restarting"}),
    ],
)
def test_what_counts_as_well(found, trouble):
    """Up is running and not unhealthy; ended is well only for a service that others wait for to end."""
    assert compose.wrong(found, ["web", "init"], ["init"]) == trouble


def test_what_several_services_have_in_common_is_said_once():
    """Compose's own failure is the reason of all that it did not bring up."""
    trouble = bringing.Trouble({"db": "no room", "init": "no room", "web": "absent"}, [])
    assert trouble.told() == "db and init: no room, web: absent"
