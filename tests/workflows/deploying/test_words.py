"""What deploys, rollbacks, releases and logs make of what is typed and of what a host says."""

import dataclasses

import pytest

from otobotctl.errors import UsageError
from otobotctl.plan.kinds.compose_release import ComposeReleaseSpec
from otobotctl.plan.kinds.provision import ProvisionSpec
from otobotctl.plan.model import Change, PlannedStep, Stage, StagePlan, Step
from otobotctl.workflows.deploying import deploy, former, logs, releases, rollback, versions


def known(current, *ran, never=(), healthy=None):
    """A host's releases: `ran` were healthy once, `never` ones not; `healthy` was the last, where a run was cut off."""
    found = [{"number": number, "ran_at": 1.0} for number in ran] + [
        {"number": number, "ran_at": None} for number in never
    ]
    return {
        "current": current,
        "healthy": healthy or current,
        "settled": healthy is None,
        "releases": sorted(found, key=lambda each: each["number"]),
    }


def test_a_rollback_goes_to_the_release_before_by_default():
    """The newest before the current one that was healthy; those that never were are passed over."""
    assert rollback.chosen("acme", known(5, 2, 3, 5, never=[4]), None) == 3
    assert rollback.chosen("acme", known(3, 2, 3, 5), None) == 2
    assert rollback.chosen("acme", known(5, 2, 3, 5), 2) == 2


def test_a_rollback_that_was_cut_off_goes_where_it_was_going_and_no_further():
    """`current` is switched first: the release before that one would be one too many. A deploy that was cut is no rollback."""
    assert rollback.chosen("acme", known(3, 2, 3, 5, healthy=5), None) == 3
    assert rollback.chosen("acme", known(3, 2, 3, 5, healthy=5), 2) == 2
    assert rollback.chosen("acme", known(5, 2, 3, healthy=3, never=[5]), None) == 3
    assert rollback.chosen("acme", known(3, 2, 3, healthy=3), None) == 2


@pytest.mark.parametrize(
    ("found", "to", "words"),
    [
        (known(2, 2), None, "no release before 2"),
        (known(None), None, "no release before this"),
        (known(5, 3, 5), 4, "no release 4"),
        (known(5, 3, 5, never=[4]), 4, "never was healthy"),
    ],
)
def test_a_rollback_to_nothing_is_refused(found, to, words):
    """With the command that shows what there is."""
    with pytest.raises(UsageError, match=words) as refused:
        rollback.chosen("acme", found, to)
    assert refused.value.hint == "otobotctl releases acme"


def test_a_rollback_says_what_it_does_not_undo():
    """Data and migrations, rotated secrets, and the fleet itself."""
    said = " ".join(rollback.stays("acme", 5, 3, former.Former(("SOME_TOKEN",))))
    for word in ("data", "migrations", "secrets", "SOME_TOKEN", "release 3", "release 5", "next deploy of acme"):
        assert word in said


def test_releases_say_who_when_and_what_changed():
    """Versions that moved, services that came and went, configuration alone, and the same files again."""

    def one(number, digest, **images):
        return {
            "number": number,
            "at": 1700000000 + number,
            "ran_at": 1700000100.5,
            "who": "me@here",
            "digest": digest,
            "images": images,
        }

    found = releases.told(
        "acme",
        "vps-1",
        {
            "current": 4,
            "settled": True,
            "_trouble": {},
            "releases": [
                one(1, "a", api="api:1", old="old:1"),
                one(2, "b", api="api:2", new="new:1"),
                {**one(3, "c", api="api:2", new="new:1"), "ran_at": None},
                {**one(4, "c", api="api:2", new="new:1"), "ran_at": 0.0, "who": None},
            ],
        },
    )
    assert [each.changed for each in found.releases] == [
        (),
        ("api 1 -> 2", "new 1 is new", "old is gone"),
        ("configuration",),
        ("nothing: the same files again",),
    ]
    assert [each.current for each in found.releases] == [False, False, False, True]
    assert [each.healthy_at for each in found.releases] == [
        "2023-11-14T22:15:00+00:00",
        "2023-11-14T22:15:00+00:00",
        None,
        "",
    ]
    assert (found.releases[0].who, found.releases[3].who) == ("me@here", "")
    assert found.releases[0].at == "2023-11-14T22:13:21+00:00"


def stage(name, kind_client, before):
    """A stage with one client's release, of which `before` is on the host; None: it matches."""
    spec = ComposeReleaseSpec(client=kind_client, project="p", state="absent")
    step = Step(f"{name}/release", spec)
    changes = () if before is None else (Change("release", before, "7 files"),)
    return StagePlan(Stage(name, (step,)), (PlannedStep(step, changes, ""),) if changes else ())


def test_a_deploy_leaves_other_clients_alone_unless_they_have_nothing_yet():
    """The proxy waits for the networks of all of its clients: one that never was deployed is brought up too."""
    assert not deploy._is_neighbour(stage("client-acme", "acme", "3 (abc)"), "acme")
    assert deploy._is_neighbour(stage("client-beta", "beta", "3 (abc)"), "acme")
    assert deploy._is_neighbour(stage("client-beta", "beta", None), "acme")
    assert not deploy._is_neighbour(stage("client-beta", "beta", "absent"), "acme")
    assert not deploy._is_neighbour(stage("front", "front", "3 (abc)"), "acme")


def test_a_deploy_leaves_what_other_clients_prepare_alone_whatever_it_lacks():
    """Trouble of a neighbour's n8n is not this client's."""

    def preparing(slug):
        spec = ProvisionSpec(client=slug, project="p", service="n8n", program=("x",), items=('{"name": "a"}',))
        step = Step(f"provision-{slug}/n8n", spec)
        return StagePlan(Stage(f"provision-{slug}", (step,)), (PlannedStep(step, (Change("a", "", "b"),), ""),))

    assert deploy._is_neighbour(preparing("beta"), "acme")
    assert not deploy._is_neighbour(preparing("acme"), "acme")


@pytest.mark.parametrize(
    ("states", "seconds"),
    [([], 0), ([None, None], 0), ([None, "exited (1)"], 60), (["restarting"], 60), ([None, "starting"], 180)],
)
def test_an_archive_waits_for_databases_that_start_after_a_boot(states, seconds):
    """For one that replays its log longer than for one that may never come; for none where all are well."""
    assert deploy.patience_s(states) == seconds


@pytest.mark.parametrize("words", [["n8n"], ["=1"], ["n8n="], ["n8n=1", "n8n=2"]])
def test_versions_that_cannot_be_meant(words):
    """Neither half may be missing, nor one service have two."""
    with pytest.raises(UsageError):
        versions.parse(words)


def test_versions():
    """A version may hold an equals sign of its own."""
    assert versions.parse(["n8n=1.2", "postgres=16=x"]) == (
        versions.Version("n8n", "1.2"),
        versions.Version("postgres", "16=x"),
    )


def test_a_log_line_is_taken_apart():
    """As Compose writes it, also with what clears a terminal's line before it; other words stay as they are."""
    line = logs.parse('\x1b[2Kvault-api-1  | 2026-11-21T18:44:55.773461649Z {"a": 1} | b')
    assert dataclasses.astuple(line) == ("vault-api-1", "2026-11-21T18:44:55.773461649Z", '{"a": 1} | b')
    assert dataclasses.astuple(logs.parse("no such container")) == ("", "", "no such container")
    assert logs.parse("a | 2026-11-21T18:44:55Z \x1b]0;evil\x07\x1b[31mred").text == "]0;evilred"


def test_the_longest_secret_is_masked_first():
    """Of one that holds another nothing is left over."""
    assert logs.mask("x longsecret y long", ("longsecret", "long")) == "x *** y ***"


@pytest.mark.parametrize(
    "wish", [logs.Wish(tail="-1"), logs.Wish(tail="x"), logs.Wish(since="--follow"), logs.Wish(since="1 day")]
)
def test_nonsense_about_logs_is_refused(wish):
    """Before anything is contacted, and nothing that reads as an option gets to the host."""
    with pytest.raises(UsageError):
        logs._check(wish)


@pytest.mark.parametrize("since", ["10m", "1h30m", "2026-11-21", "2026-11-21T15:00:00Z", "2026-11-21T15:00:00.5+01:00"])
def test_times_that_docker_takes(since):
    """Durations and dates."""
    logs._check(logs.Wish(since=since, tail="all"))
