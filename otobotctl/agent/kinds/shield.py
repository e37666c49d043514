"""Addresses held off, and the host shut but for SSH from some, while an incident lasts. The own way in is spared."""

from __future__ import annotations

import time
from typing import Any, Dict, List, Optional

from otobotctl.agent import listening, shield, sshd, trial
from otobotctl.agent.run import Run, StepError


def probe(_params: Dict[str, Any]) -> Dict[str, Any]:
    """Answer what the shield is told and whether it holds.

    blocked ({address: until}), isolated (who may come by SSH, or None), enforced; restored: when an isolation on trial
    was taken back, or ""; _client: where this login comes from, or None; _own: the host's addresses; _ssh: its ports.
    """
    return {
        **shield.state(),
        "_client": sshd.client(),
        "_own": listening.addresses(),
        "_ssh": sshd.ports(),
    }


def apply(params: Dict[str, Any], run: Run) -> None:
    """Hold off, let in, shut or open. An isolation is on trial: without a new login in time it is taken back."""
    spared = [address for address in (*params["spared"], sshd.client(), "127.0.0.1", "::1") if address]
    for block in params["blocked"]:
        refuse(block["address"], [*spared, *listening.addresses()])
    shield.install(sshd.ports(), run)
    kept = {address: until for address, until in shield.blocked().items() if not until or until > time.time()}
    held = {address: until for address, until in kept.items() if address not in params["freed"]}
    held.update({block["address"]: block["until"] for block in params["blocked"]})
    shield.hold_off(held)
    if params["isolate"]:
        _isolate(params, [each for each in spared if each not in ("127.0.0.1", "::1")], run)
        return
    if params["release"]:
        if shield.TRIAL in trial.names():  # one that was taken back, or was never proved: nothing of it is to be kept
            trial.take_back(shield.TRIAL, run)
        shield.open_again()
    shield.enforce(run)


def refuse(block: str, spared: List[str]) -> None:
    """Raise StepError where an address or network holds one that must not be held off."""
    hit: Optional[str] = next((address for address in spared if shield.covers(block, address)), None)
    if hit is not None:
        raise StepError("{} would hold off {}, which is your own way in or the host itself".format(block, hit))


def _isolate(params: Dict[str, Any], own: List[str], run: Run) -> None:
    friends = sorted({*params["isolate"], *own})
    if not friends:
        raise StepError("nobody could come in any more: say from where with --from ADDRESS")
    trial.arm(shield.TRIAL, params["trial_s"], shield.way_back(), run, keeps=shield.place())
    try:
        shield.shut(friends)
        shield.enforce(run)
        trial.loaded(shield.TRIAL)
    except StepError:
        trial.take_back(shield.TRIAL, run)
        raise
