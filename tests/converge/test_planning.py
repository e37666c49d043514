"""What may not be applied is told before anything of its stage is."""

from __future__ import annotations

import pytest

from otobotctl.converge import planning
from otobotctl.converge.model import Answer
from otobotctl.errors import ManifestError, StepFailedError
from otobotctl.plan.kinds import spec_class
from otobotctl.plan.kinds.provision import ProvisionSpec
from otobotctl.plan.model import Change, PlannedStep, Stage, StagePlan, Step


def test_a_refused_change_names_the_step_and_the_way_out():
    """Every refusal is listed; a plan without one passes."""
    step = Step("client-acme/release", spec_class("symlink")(path="/a", target="/b"))
    stage = Stage("client-acme", (step,))
    allowed = PlannedStep(step, (Change("upgrade web", "1", "2"),), "")
    refused = PlannedStep(step, (Change("downgrade postgres", "17.1", "16.4", refused="it holds data"),), "")
    planning.check_allowed("vps-1", StagePlan(stage, (allowed,)))
    with pytest.raises(ManifestError) as caught:
        planning.check_allowed("vps-1", StagePlan(stage, (allowed, refused)))
    assert caught.value.details == ("client-acme/release: downgrade postgres (17.1 -> 16.4): it holds data",)


def test_an_applied_stage_says_what_its_facts_still_tell_the_operator():
    """What was kept is no failure of the apply; what is still not made is."""
    item = '{"name": "workflow B", "kind": "workflow", "id": "b"}'
    step = Step("s/n8n", ProvisionSpec(client="acme", project="p", service="n8n", program=("x",), items=(item,)))
    stage = Stage("s", (step,))

    def settled(state):
        facts = {"running": True, "items": {"workflow B": state}, "_trouble": ""}
        return planning.check_settled("vps-1", StagePlan(stage, ()), (Answer(facts),))

    assert settled("ready") == ()
    (note,) = settled("kept")
    assert "workflow B" in note
    with pytest.raises(StepFailedError, match="still not as desired"):
        settled("absent")
