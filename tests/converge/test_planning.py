"""What may not be applied is told before anything of its stage is."""

from __future__ import annotations

import pytest

from otobotctl.converge import planning
from otobotctl.errors import ManifestError
from otobotctl.plan.kinds import spec_class
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
