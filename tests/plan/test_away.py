"""What a plan says of services that are replaced."""

import pytest
import yaml

from otobotctl.plan import away

BEFORE = {
    "services": {
        "api": {"image": "api:1", "labels": {"otobot.drain": "20"}},
        "db": {"image": "db:1", "stop_grace_period": "30s"},
        "init": {"image": "init:1", "restart": "no"},
        "old": {"image": "old:1"},
    }
}


def replaced(changes, took=None):
    """The words for what differs after `changes` to BEFORE's services; None takes one out."""
    services = {**BEFORE["services"], **changes}
    after = {"services": {name: body for name, body in services.items() if body}}
    return dict(away.replaced(yaml.safe_dump(BEFORE), yaml.safe_dump(after), took or {}))


def test_what_stays_the_same_is_not_named():
    """The same project, or one service more: nothing is away."""
    assert replaced({}) == {}
    assert replaced({"new": {"image": "new:1"}}) == {}


def test_each_service_that_differs_says_how_long_it_is_away():
    """A stateless one not at all; another one as long as its last start, or as its own limits allow."""
    api = {"image": "api:2", "labels": {"otobot.drain": "20"}}
    health = {"start_period": "60s", "interval": "5s", "timeout": "5s", "retries": 12}
    db = {"image": "db:2", "stop_grace_period": "30s", "healthcheck": health}
    assert replaced({"api": api})["api"].startswith("answers all along")
    assert replaced({"db": db})["db"] == "away for 210 s at most"
    assert replaced({"db": db}, {"db": 3.2})["db"] == "away for about 4 s, as the last time"
    assert replaced({"init": {"image": "init:2", "restart": "no"}})["init"] == "runs once, and ends"
    assert replaced({"old": None}) == {"old": "gone"}


@pytest.mark.parametrize("text", ["", "services: [", "services: 3", "- 1", "services: {a}"])
def test_a_file_that_somebody_has_spoilt_tells_nothing(text):
    """No exception: the plan shows the difference of the file itself."""
    assert dict(away.replaced(text, "services: {}", {})) == {}
