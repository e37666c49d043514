"""The engine against this machine: what is executed, applied, refused and told."""

from __future__ import annotations

import json
import os
import threading

import pytest

from otobotctl.converge import engine, pack
from otobotctl.errors import DriftError, InterruptedRunError, LockedError, StepFailedError
from otobotctl.plan.kinds.file import FileSpec
from otobotctl.plan.model import Change
from tests.converge.story import command_step, file_step, stage
from tests.waiting import until

ME = "me@here"
HASTY = engine.Patience(reconnect_s=60, reboot_s=60, pause_s=0.01, longest_pause_s=0.1)


def converge(host, *stages, who=ME, **more):
    return engine.converge_host(host.open, stages, who=who, patience=HASTY, **more)


def waiting_step(name, root):
    """A step that says it has begun and then waits for the file `go`."""
    script = f"echo begun; touch {root}/begun; while [ ! -e {root}/go ]; do sleep 0.05; done; touch {root}/done"
    return command_step(name, script, root / "done")


def kept(host):
    return (host.state / "agent" / pack.digest()).is_dir


def test_two_stages_take_three_executions_and_then_one(host, tmp_path, heard):
    """A first apply looks once and applies each stage once; a second one only looks."""
    stages = (
        stage("one", file_step("one/a", tmp_path / "a", "A\n"), file_step("one/b", tmp_path / "b", "B\n")),
        stage("two", file_step("two/c", tmp_path / "c", "C\n")),
    )
    first = converge(host, *stages, listener=heard)
    assert first.changed == ("one/a", "one/b", "two/c")
    assert 3 == first.executions == len(host.executions)
    assert (tmp_path / "a").read_text() == "A\n"
    assert [record["steps"] for record in heard.named("planned")] == [["one/a", "one/b"], ["two/c"]]

    second = converge(host, *stages)
    assert (second.executions, second.changed) == (1, ())
    assert len(host.executions) == 4
    assert len(second.boot_ids) == 1


def test_a_step_that_wants_a_new_login_gets_one(host, tmp_path, monkeypatch):
    """The connection is renewed right before its stage is applied, and only where it is."""
    monkeypatch.setattr(FileSpec, "fresh_login", lambda spec: spec.path.endswith("b"))
    stages = (
        stage("one", file_step("one/a", tmp_path / "a", "A\n")),
        stage("two", file_step("two/b", tmp_path / "b", "B\n")),
        stage("three", file_step("three/c", tmp_path / "c", "C\n")),
    )
    converge(host, *stages)
    assert host.renewed == [2]
    converge(host, *stages)
    assert host.renewed == [2]


def test_the_agent_is_sent_only_until_it_is_kept(host, tmp_path):
    """A host that keeps the agent gets the request alone, in one write."""
    wanted = stage("one", file_step("one/a", tmp_path / "a", "A\n"))
    converge(host, wanted)
    assert [len(sent) > len(pack.archive()) for sent in host.sent] == [False, False, True]
    until(kept(host))
    host.sent.clear()
    converge(host, wanted)
    assert len(host.sent) == 1
    assert len(host.sent[0]) < 1000
    assert (host.state / "agent").stat().st_mode & 0o777 == 0o700
    assert list((host.state / "agent" / pack.digest()).rglob("*.pyc"))


def test_an_observation_writes_nothing(host, tmp_path):
    """`plan` leaves no trace on a host, not even the agent."""
    (plan,) = engine.observe_host(host.open, [stage("one", file_step("one/a", tmp_path / "a", "A\n"))])
    assert [step.step.name for step in plan.steps] == ["one/a"]
    assert not host.state.exists()
    assert not (tmp_path / "a").exists()


def test_a_failing_step_ends_the_run(host, tmp_path):
    """Later steps do not run, and the error carries the step's own words."""
    stages = stage(
        "one",
        file_step("one/before", tmp_path / "before", "x"),
        command_step("one/bad", "echo told; echo own words >&2; exit 3", tmp_path / "never"),
        file_step("one/after", tmp_path / "after", "x"),
    )
    with pytest.raises(StepFailedError) as caught:
        converge(host, stages)
    assert caught.value.message == "here: one/bad failed: sh ended with 3: own words"
    assert {"told", "own words"} == set(caught.value.details)
    assert (tmp_path / "before").exists()
    assert not (tmp_path / "after").exists()
    assert engine.ask(host.open, []).last["state"] == "failed"


def test_a_step_that_changes_nothing_is_not_called_done(host, tmp_path):
    """Two steps that want different things are named, not hidden."""
    with pytest.raises(StepFailedError, match=r"one/first .* still not as desired"):
        converge(
            host,
            stage("one", file_step("one/first", tmp_path / "a", "1"), file_step("one/second", tmp_path / "a", "2")),
        )


def test_a_change_between_plan_and_apply_is_refused(host, tmp_path, heard):
    """A file edited by hand after the plan stays as it is; the exit code is 4."""
    target = tmp_path / "a"
    target.write_text("as planned from\n")
    heard.on = lambda record: record["event"] == "planned" and target.write_text("by hand\n")
    wanted = stage("one", file_step("one/other", tmp_path / "other", "x"), file_step("one/a", target, "A\n"))
    with pytest.raises(DriftError, match="one/a: it was changed by someone else") as caught:
        converge(host, wanted, listener=heard)
    assert caught.value.exit_code == 4
    assert target.read_text() == "by hand\n"
    assert not (tmp_path / "other").exists()


def test_a_file_rewritten_during_the_run_is_refused(host, tmp_path):
    """The digest is looked at again right before the file's own step."""
    target = tmp_path / "a"
    target.write_text("as planned from\n")
    meddle = command_step("one/meddle", f"echo by hand >{target}; touch {tmp_path}/done", tmp_path / "done")
    with pytest.raises(DriftError):
        converge(host, stage("one", meddle, file_step("one/a", target, "A\n")))
    assert target.read_text() == "by hand\n"


def test_what_an_earlier_step_made_is_no_drift(host, tmp_path):
    """Facts that a step of the same run moved do not refuse a later one."""
    make = command_step("one/make", f"touch {tmp_path}/a", tmp_path / "a")
    result = converge(host, stage("one", make, file_step("one/a", tmp_path / "a", "A\n")))
    assert result.changed == ("one/make", "one/a")


def test_secrets_are_masked_before_the_journal(host, tmp_path, heard):
    """No form of a masked value reaches the journal, the listener or an error; nor does a step's content."""
    value = 'p"w%1/2'
    script = f"printf '%s\\n' '{value}' 'as url p%22w%251%2F2'; exit 1"
    private = file_step("one/private", tmp_path / "private", "content-only-for-the-file")
    with pytest.raises(StepFailedError) as caught:
        converge(
            host,
            stage("one", private, command_step("one/tell", script, tmp_path / "never")),
            mask=[value],
            listener=heard,
        )
    assert caught.value.details == ("***", "as url ***")
    (journal,) = host.journals
    for text in (journal.read_text(), json.dumps(heard.records)):
        for form in (value, json.dumps(value)[1:-1], "p%22w", "content-only-for-the-file"):
            assert form not in text
    assert journal.stat().st_mode & 0o777 == 0o600


def test_another_operator_is_told_who_holds_the_host(host, tmp_path):
    """The second operator gets exit code 11 and a name; the first one's run is not disturbed."""
    wanted = stage("one", waiting_step("one/wait", tmp_path))
    results = []
    first = threading.Thread(target=lambda: results.append(converge(host, wanted)))
    first.start()
    until((tmp_path / "begun").exists)
    with pytest.raises(LockedError, match=r"locked by me@here .run ") as caught:
        converge(host, wanted, who="you@there")
    assert caught.value.exit_code == 11
    (tmp_path / "go").touch()
    first.join()
    assert results[0].changed == ("one/wait",)


def test_the_same_operator_follows_the_run_and_goes_on(host, tmp_path, heard):
    """A second apply by the same operator waits for the first one's end, looks afresh and does the rest."""
    waiting = waiting_step("one/wait", tmp_path)
    first = threading.Thread(target=lambda: converge(host, stage("one", waiting)))
    first.start()
    until((tmp_path / "begun").exists)
    heard.on = lambda record: record["event"] == "reattached" and (tmp_path / "go").touch()
    result = converge(host, stage("one", waiting, file_step("one/a", tmp_path / "a", "A\n")), listener=heard)
    first.join()
    assert result.reattached
    assert result.changed == ("one/a",)
    assert heard.named("output")[0]["text"] == "begun"


def test_a_run_that_ends_during_a_look_spoils_it(host, tmp_path):
    """Answers given while another run was at work are not planned from, even if it has ended since."""
    waiting = waiting_step("one/wait", tmp_path)
    first = threading.Thread(target=lambda: converge(host, stage("one", waiting)))
    first.start()
    until((tmp_path / "begun").exists)
    ends_it = f"touch {tmp_path}/go; while ! flock --nonblock {host.root}/run/lock true; do sleep 0.02; done; false"
    question = {"kind": "command", "params": {"unless": ["sh", "-c", ends_it]}}
    seen = engine.ask(host.open, [question])
    first.join()
    assert seen.holder["who"] == ME
    assert engine.ask(host.open, []).holder is None


def test_ctrl_c_leaves_the_run_going(host, tmp_path, heard):
    """The operator may leave; the host finishes, and the next apply finds it done."""

    def leave(record):
        if record["event"] == "output":
            raise KeyboardInterrupt

    heard.on = leave
    wanted = stage("one", waiting_step("one/wait", tmp_path))
    with pytest.raises(InterruptedRunError, match="goes on with run"):
        converge(host, wanted, listener=heard)
    (tmp_path / "go").touch()
    assert converge(host, wanted).changed == ()
    assert (tmp_path / "done").exists()


def test_a_step_that_cannot_be_looked_at_yet_is_planned_behind_one_that_can(host, tmp_path):
    """A question that only an earlier step makes answerable stops neither the plan nor the apply."""
    place = tmp_path / "place"
    place.symlink_to(place)  # a loop: looking below it is an error, not an absence
    clear = command_step("one/clear", f"rm {place}; mkdir {place}; touch {tmp_path}/cleared", tmp_path / "cleared")
    wanted = stage("one", clear, file_step("one/a", place / "a", "A\n"))
    (plan,) = engine.observe_host(host.open, [wanted])
    assert (Change(what="unknown", after="cannot be looked at yet"),) == plan.steps[1].changes
    assert converge(host, wanted).changed == ("one/clear", "one/a")


def test_a_step_that_cannot_be_looked_at_at_all_stops_the_plan(host, tmp_path):
    """Where nothing earlier changes it, the trouble is named with the step."""
    place = tmp_path / "place"
    place.symlink_to(place)
    with pytest.raises(StepFailedError, match="cannot look at one/a"):
        engine.observe_host(host.open, [stage("one", file_step("one/a", place / "a", "A\n"))])


def test_twenty_journals_are_kept(host, tmp_path):
    """The oldest journals go."""
    converge(host, stage("one", file_step("one/a", tmp_path / "a", "0")))
    for number in range(30):
        old = host.state / "runs" / f"old{number}.jsonl"
        old.write_text("")
        os.utime(old, (number, number))
    converge(host, stage("one", file_step("one/a", tmp_path / "a", "1")))
    assert len(host.journals) == 20
    assert host.journals[-3].name == "old29.jsonl"
