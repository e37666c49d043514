"""How long containers took to be healthy, from what Docker says of them."""

import os

import pytest

from otobotctl.agent import compose
from otobotctl.agent.releases import Releases


@pytest.mark.parametrize(
    ("stamp", "seconds"),
    [
        ("1970-01-01T00:01:01.891010029Z", 61.891010029),
        ("1970-01-01T00:01:01Z", 61.0),
        ("1970-01-01T02:01:01.5+02:00", 61.5),
    ],
)
def test_docker_writes_times_in_three_ways(stamp, seconds):
    """With nanoseconds, without, and in the host's own zone."""
    assert compose.unix(stamp) == pytest.approx(seconds)


def container(service, created, *checks):
    log = [{"End": end, "ExitCode": code} for end, code in checks]
    return {
        "Created": created,
        "State": {"Health": {"Log": log}} if log else {},
        "Config": {"Labels": {"com.docker.compose.service": service}},
    }


def test_from_its_making_to_its_first_good_answer():
    """Of containers made by this deploy alone; one without a health check has no answer."""
    inspected = [
        container("api", "1970-01-01T00:10:00Z", ("1970-01-01T00:10:02Z", 1), ("1970-01-01T00:10:04.25Z", 0)),
        container("db", "1970-01-01T00:05:00Z", ("1970-01-01T00:05:01Z", 0)),
        container("job", "1970-01-01T00:10:00Z"),
    ]
    assert compose.took_s(inspected, 500.0) == {"api": 4.2}


def test_it_is_remembered_beside_the_releases(tmp_path, monkeypatch):
    """Service by service, across releases; so is when each release was healthy."""
    from otobotctl.agent import files, releases

    monkeypatch.setattr(releases, "ROOT", str(tmp_path))
    # Whoever runs the tests owns what they write.
    monkeypatch.setattr(files, "uid_of", lambda _name: os.getuid())
    monkeypatch.setattr(files, "gid_of", lambda _name: os.getgid())
    here = Releases("acme")
    for number in (1, 2):
        here.publish(here.begin())
        here.settle(number, {f"service{number}": 1.5})
    assert here.took() == {"service1": 1.5, "service2": 1.5}
    here.unsettle()
    assert here.took() == {"service1": 1.5, "service2": 1.5}
    assert [here.ran(number) for number in (1, 2, 3)] == [True, True, False]


def test_releases_from_before_that_was_noted_count_as_healthy(tmp_path, monkeypatch):
    """Up to the one that state.json names; a newer one is what a killed run has left."""
    from otobotctl.agent import releases

    monkeypatch.setattr(releases, "ROOT", str(tmp_path))
    here = Releases("acme")
    for _ in range(3):
        here.publish(here.begin())
    (tmp_path / "acme/state.json").write_text('{"healthy": 2, "settled": true}')
    assert [here.ran_at(number) for number in (1, 2, 3)] == [0.0, 0.0, None]
