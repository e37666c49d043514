"""Hosts that go away in the middle, played by a door that answers from a script."""

from __future__ import annotations

import json

import pytest

from otobotctl.converge import engine
from otobotctl.errors import HostUnreachableError, LockedError, StepFailedError
from otobotctl.plan.kinds import spec_class
from otobotctl.plan.model import Stage, Step
from otobotctl.transport.base import Finished

HASTY = engine.Patience(reconnect_s=5, reboot_s=0.5, pause_s=0.001, longest_pause_s=0.01)
STAGES = (
    Stage("one", (Step("one/reboot", spec_class("reboot")()),)),
    Stage("two", (Step("two/dir", spec_class("directory")(path="/opt/x", mode="0755")),)),
)
WANTED = {"facts": {"boot_id": "b1", "required": True, "kernel": ""}}
DONE = {"facts": {"boot_id": "b2", "required": False, "kernel": ""}}
THERE = {"facts": {"type": "directory", "mode": "0755", "owner": "root", "group": "root"}}
GOES_DOWN = [
    {"event": "run_start", "boot_id": "b1"},
    {"event": "step_start", "step": "one/reboot"},
    {"event": "step_end", "step": "one/reboot", "ok": True, "changed": True},
    {"event": "run_end", "ok": True, "failed": None, "drift": False, "reboot": True},
]
AWAY = HostUnreachableError("played: refused")


def end(boot_id, holder=None):
    return {"end": True, "boot_id": boot_id, "holder": holder, "last": None}


def look(boot_id, *answers, holder=None):
    return [*({"answer": index, **answer} for index, answer in enumerate(answers)), end(boot_id, holder)]


class Played:
    """A host whose executions are answered from `script`, one entry each; an error is a line that cannot be had."""

    name = "played"

    def __init__(self, *script):
        self.script = list(script)
        self.requests = []

    def __call__(self):
        return self

    def execute(self, argv, *, silence_s=15.0):
        entry = self.script.pop(0) if len(self.script) > 1 else self.script[0]
        if isinstance(entry, Exception):
            raise entry
        return PlayedChannel(self, entry)

    def close(self):
        pass


class PlayedChannel:
    def __init__(self, host, entry):
        self.host, self.entry = host, entry

    def send(self, data):
        self.host.requests.append(json.loads(data))

    def lines(self):
        return [json.dumps(record).encode() for record in [{"ready": True}, *self.entry]]

    def finish(self):
        return Finished(0, "")

    def close(self):
        pass


def converge(host):
    return engine.converge_host(host, STAGES, who="me@here", patience=HASTY)


def test_a_reboot_is_waited_for_and_the_rest_goes_on():
    """Refused connections and the old boot's last answers do not count as being back."""
    host = Played(
        look("b1", WANTED, THERE),
        [*GOES_DOWN, end("b1")],
        AWAY,
        look("b1", WANTED, THERE),
        AWAY,
        look("b2", DONE, THERE),
    )
    result = converge(host)
    assert result.boot_ids == ("b1", "b2")
    assert result.changed == ("one/reboot",)
    assert result.executions == 6


def test_a_line_cut_by_the_reboot_is_no_error():
    """The host may go before it could say goodbye: the journal is read once it is back."""
    host = Played(look("b1", WANTED, THERE), AWAY, AWAY, [*GOES_DOWN, end("b2")], look("b2", DONE, THERE))
    assert converge(host).boot_ids == ("b1", "b2")
    assert [request["op"] for request in host.requests] == ["observe", "follow", "observe"]


def test_a_host_that_does_not_come_back_is_named():
    """With the last thing its address said."""
    host = Played(look("b1", WANTED, THERE), [*GOES_DOWN, end("b1")], AWAY)
    with pytest.raises(HostUnreachableError, match="not back") as caught:
        converge(host)
    assert caught.value.details == ("played: refused",)


def test_a_host_that_asks_for_reboots_for_ever_is_left_alone():
    """Five are enough."""
    boots = []
    for number in range(1, 7):
        down = [{**record, "boot_id": f"b{number}"} for record in GOES_DOWN]
        boots += [[*down, end("x")], look(f"b{number + 1}", WANTED, THERE)]
    with pytest.raises(StepFailedError, match="one still differs after 5 tries"):
        converge(Played(look("b1", WANTED, THERE), *boots))


def test_a_line_that_breaks_before_the_run_begins_costs_a_new_look():
    """The host knows no such run: it is looked at again and then applied."""
    unknown = [{"error": {"code": "unknown", "message": "the host never saw it"}}]
    applied = [*GOES_DOWN[:-1], {**DONE, "event": "answer", "answer": 0}, {**THERE, "event": "answer", "answer": 1}]
    ended = [*applied, {**GOES_DOWN[-1], "reboot": False}, end("b1")]
    host = Played(look("b1", WANTED, THERE), AWAY, unknown, look("b1", WANTED, THERE), ended)
    result = converge(host)
    assert (result.executions, result.changed) == (5, ("one/reboot",))


def test_a_held_host_is_not_planned_from():
    """Facts that another run is moving are no ground to plan on."""
    holder = {"run": "r9", "who": "you@there", "at": 0.0, "pid": 1}
    with pytest.raises(LockedError, match="you@there"):
        converge(Played(look("b1", DONE, THERE, holder=holder)))


def test_a_matching_host_is_one_request():
    """Every stage is asked about in the same execution."""
    host = Played(look("b1", DONE, THERE))
    assert converge(host).executions == 1
    (request,) = host.requests
    assert [question["kind"] for question in request["questions"]] == ["reboot", "directory"]
