"""Which steps of a stage differ, and which are woken by an earlier one."""

import pytest

from otobotctl.agent.protocol import facts_digest
from otobotctl.plan.kinds.file import FileSpec
from otobotctl.plan.kinds.service import ServiceSpec
from otobotctl.plan.model import Stage, Step
from otobotctl.plan.stage import plan_stage

RUNNING = {"load": "loaded", "_active": "active", "enabled": "enabled", "watched": "a", "stamp": "a"}


def planned(watched, facts):
    file = Step("web/page", FileSpec(path="/srv/www/index.html", content="new"))
    service = Step("web/service", ServiceSpec(name="web", watched=watched))
    return [step.step.name for step in plan_stage(Stage("web", (file, service)), [facts, RUNNING]).steps]


@pytest.mark.parametrize("watched", ["/srv/www/index.html", "/srv/www", "/srv"])
def test_a_step_is_woken_by_a_path_it_watches_or_one_below(watched):
    """The service restarts in the same run that writes its file, though nothing differs about it yet."""
    assert planned((watched,), {"type": "absent"}) == ["web/page", "web/service"]


@pytest.mark.parametrize("watched", ["/srv/ww", "/srv/www/other", "/etc"])
def test_a_step_is_not_woken_by_a_path_it_does_not_watch(watched):
    """A longer name that begins alike is another path."""
    assert planned((watched,), {"type": "absent"}) == ["web/page"]


def test_nothing_is_woken_by_a_step_that_matches():
    """Nothing is written, so nothing has to restart."""
    same = {
        "type": "file",
        "mode": "0644",
        "owner": "root",
        "group": "root",
        "sha256": FileSpec(path="/x", content="new").question()["sha256"],
    }
    assert planned(("/srv/www",), same) == []


def test_facts_that_move_by_themselves_are_no_drift():
    """A container that becomes healthy between plan and apply must not stop the run."""
    assert facts_digest({"a": 1, "_health": "starting"}) == facts_digest({"a": 1, "_health": "healthy"})
    assert facts_digest({"a": 1}) != facts_digest({"a": 2})
