"""Many hosts at once: how many, which first, when to stop, and one error for all."""

import _thread
import signal
import threading

import pytest

from otobotctl.errors import (
    HostUnreachableError,
    InterruptedRunError,
    LockedError,
    ManifestError,
    PartialError,
    UsageError,
)
from otobotctl.manifest import resolve
from otobotctl.manifest.models import Host, Manifest
from otobotctl.workflows.fleetwide import failure
from otobotctl.workflows.parallel import Limits, Outcome, each_host
from otobotctl.workflows.selection import Selection

HOSTS = ("a", "b", "c", "d", "e", "f")
PATIENCE_S = 60


class Heard:
    """Keeps every event, and in which thread it was told."""

    def __init__(self):
        self.records = []
        self.threads = set()

    def event(self, record):
        self.records.append(record)
        self.threads.add(threading.current_thread())

    def hosts(self, event):
        return [record["host"] for record in self.records if record["event"] == event]


def failing(*names):
    """Work that fails on these hosts."""

    def work(host, listener):
        listener.event({"event": "observed", "host": host})
        if host in names:
            raise HostUnreachableError(f"{host}: gone", hint="plug it in")
        return host.upper()

    return work


def states(outcomes):
    return {o.host: "failed" if o.error else "left out" if o.left_out else o.result for o in outcomes}


def test_every_host_is_worked_on_and_the_order_is_kept():
    """Outcomes come as the hosts were named, whoever ended first; the listener is told in the caller's thread only."""
    heard = Heard()
    outcomes = each_host(HOSTS, failing(), Limits(parallel=3), heard)
    assert [o.host for o in outcomes] == list(HOSTS)
    assert [o.result for o in outcomes] == [name.upper() for name in HOSTS]
    assert heard.threads == {threading.current_thread()}
    assert heard.records[0] == {"event": "hosts", "hosts": list(HOSTS)}
    assert sorted(heard.hosts("observed")) == sorted(heard.hosts("host_end")) == list(HOSTS)


def test_as_many_at_once_as_allowed_and_no_more():
    """Three hosts meet at a barrier of three; a fourth never runs beside them."""
    together, lock, most, running = threading.Barrier(3), threading.Lock(), [], set()

    def work(host, _):
        with lock:
            running.add(host)
            most.append(len(running))
        together.wait(PATIENCE_S)
        with lock:
            running.discard(host)

    outcomes = each_host(HOSTS, work, Limits(parallel=3), Heard())
    assert not [o for o in outcomes if o.error]
    assert max(most) == 3


def test_canaries_end_before_the_others_begin():
    """Nobody else starts before both canaries have succeeded."""
    heard = Heard()
    each_host(HOSTS, failing(), Limits(canary=2), heard)
    told = [
        (record["event"], record["host"]) for record in heard.records if record["event"] in {"host_start", "host_end"}
    ]
    assert {host for _, host in told[:4]} == {"a", "b"}


def test_a_failed_canary_leaves_out_all_others():
    """Both canaries are tried, nobody else is, and each one that was left out says why."""
    outcomes = each_host(HOSTS, failing("a"), Limits(canary=2), heard := Heard())
    assert states(outcomes) == {"a": "failed", "b": "B", **dict.fromkeys("cdef", "left out")}
    assert heard.hosts("host_left_out") == list("cdef")
    assert "canary a failed" in outcomes[-1].left_out


def test_after_so_many_failures_no_other_host_starts():
    """The second failure is the last: what runs ends, what waits is left out."""
    outcomes = each_host(HOSTS, failing("a", "c", "e"), Limits(parallel=1, max_failures=2), Heard())
    assert states(outcomes) == {"a": "failed", "b": "B", "c": "failed", **dict.fromkeys("def", "left out")}


def test_without_a_limit_every_host_is_tried():
    """One host's failure is not the others' trouble."""
    outcomes = each_host(HOSTS, failing("a", "b", "c"), Limits(parallel=2), Heard())
    assert [o.result for o in outcomes] == [None, None, None, "D", "E", "F"]


def test_a_defect_on_one_host_is_its_own_error():
    """An exception that is no OtobotError is told without its message, which could hold a secret."""

    def work(host, _):
        if host == "a":
            raise ValueError("hunter2")
        return host

    first, second = each_host(("a", "b"), work, Limits(), Heard())
    assert "ValueError at test_parallel.py" in first.error.message
    assert "hunter2" not in str(first.error.told())
    assert second.result == "b"


def test_a_panic_on_one_host_ends_that_host_and_not_the_waiting_for_it():
    """What Rust panics with is no Exception: a thread that it ended silently was waited for without an end."""

    class Panic(BaseException):
        """As pyo3's PanicException."""

    def work(host, _):
        if host == "a":
            raise Panic
        return host

    found = []
    calling = threading.Thread(target=lambda: found.extend(each_host(HOSTS, work, Limits(2), Heard())), daemon=True)
    calling.start()
    calling.join(PATIENCE_S)
    assert "Panic at test_parallel.py" in found[0].error.message
    assert [each.result for each in found[1:]] == list(HOSTS[1:])


def test_ctrl_c_names_the_hosts_that_are_under_way():
    """The caller gets out at once although a host would never end; what was never tried is told too."""
    never = threading.Event()

    def work(host, _):
        if host == "b":
            _thread.interrupt_main()
            never.wait(PATIENCE_S)

    # A shell without job control starts what runs in the background with Ctrl-C ignored.
    before = signal.signal(signal.SIGINT, signal.default_int_handler)
    try:
        with pytest.raises(InterruptedRunError, match="under way: b") as caught:
            each_host(("a", "b", "c", "d"), work, Limits(parallel=1), Heard())
        assert caught.value.details == ("not started: c, d",)
    finally:
        signal.signal(signal.SIGINT, before)
        never.set()


def outcome(host, error=None, left_out=""):
    return Outcome(host, None, error, left_out)


def test_the_error_of_all_hosts():
    """None; a host's own when it is the only one; else exit code 3 with a line a host: its error, code and remedy."""
    locked, gone = LockedError("a: held", hint="wait"), HostUnreachableError("b: gone")
    assert failure([outcome("a"), outcome("b")]) is None
    assert failure([outcome("a", locked)]) is locked
    whole = failure([outcome("a", locked), outcome("b", gone), outcome("c"), outcome("d", left_out="2 failed before")])
    assert isinstance(whole, PartialError)
    assert whole.exit_code == 3
    assert whole.message == "2 of 4 hosts failed, and 1 were not started"
    assert whole.details == (
        "a: exit 11: a: held; next: wait",
        "b: exit 13: b: gone",
        "d: not started: 2 failed before",
    )
    assert isinstance(failure([outcome("a", gone), outcome("b", gone)]), PartialError)


MANIFEST = resolve(
    Manifest(
        version=1,
        hosts={
            "vps-1": Host(address="203.0.113.1", tags=("paris",)),
            "vps-2": Host(address="203.0.113.2", tags=("lyon", "paris")),
            "vps-3": Host(address="203.0.113.3"),
        },
    )
)


@pytest.mark.parametrize(
    ("selection", "hosts"),
    [
        (Selection(every=True), ("vps-1", "vps-2", "vps-3")),
        (Selection(("vps-3", "vps-1", "vps-3")), ("vps-3", "vps-1")),
        (Selection(tags=("paris",)), ("vps-1", "vps-2")),
        (Selection(("vps-3", "vps-2"), ("paris", "lyon")), ("vps-3", "vps-2", "vps-1")),
    ],
)
def test_hosts_are_chosen_by_name_by_tag_or_all(selection, hosts):
    """Named ones in the order they were named, so that canaries can be chosen; each once."""
    assert selection.of(MANIFEST) == hosts


@pytest.mark.parametrize(
    ("selection", "error", "words"),
    [
        (Selection(), UsageError, "which hosts"),
        (Selection(("vps-1",), every=True), UsageError, "--all"),
        (Selection(tags=("rome",)), UsageError, "no host has the tag rome"),
        (Selection(("vps-9",)), ManifestError, "vps-9"),
    ],
)
def test_a_choice_that_cannot_be_meant_is_refused(selection, error, words):
    """Nothing is contacted, and the hint says what there is."""
    with pytest.raises(error, match=words) as caught:
        selection.of(MANIFEST)
    assert caught.value.hint


def test_a_fleet_without_hosts_says_how_to_add_one():
    """`host apply --all` of a new fleet."""
    with pytest.raises(UsageError) as caught:
        Selection(every=True).of(resolve(Manifest(version=1)))
    assert "host add" in caught.value.hint
