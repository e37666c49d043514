"""The lab as pytest fixtures: hosts for tests, and a clean machine after them, however pytest ends."""

from __future__ import annotations

import contextlib
import os
import signal
import threading
from collections.abc import Iterator
from functools import partial
from typing import Any, Protocol

import pytest

from tests.lab import lab as laboratory
from tests.lab import light, rewind
from tests.lab.host import Host
from tests.lab.lab import Lab
from tests.lab.light import LightHost
from tests.lab.shell import LabError

_OF_LAB = frozenset(
    {"lab", "bare_host", "make_host", "module_host", "docker_host", "warm_host", "light_host", "light_hosts"}
)
_SKIPPED = pytest.StashKey[dict[str, int]]()
_RERUNS = 1
_HEAD, _TAIL = 300, 1500  # characters of an error in the summary: what was claimed, and what the command said last


class MakeHost(Protocol):
    """Makes fresh hosts that live as long as the test."""

    def __call__(self, kind: str = "bare", hostname: str = "", *, registry: bool = False) -> Host: ...


def unavailable(reason: str) -> None:
    """A lab that is silently absent would be a green run that proved nothing: in CI it fails."""
    if os.environ.get("CI"):
        pytest.fail(f"no lab: {reason}", pytrace=False)
    pytest.skip(f"no lab: {reason}")


@pytest.fixture(scope="session")
def lab() -> Iterator[Lab]:
    """The lab of this run of pytest."""
    if reason := laboratory.missing():
        unavailable(reason)
    opened = Lab()
    try:
        opened.open()
    except LabError as error:
        unavailable(str(error))
    try:
        yield opened
    finally:
        opened.close()


@pytest.fixture
def make_host(lab: Lab) -> Iterator[MakeHost]:
    """Makes fresh hosts for one test."""
    with _making(lab, of_one_test=True) as make:
        yield make


@contextlib.contextmanager
def _making(lab: Lab, *, of_one_test: bool = False) -> Iterator[MakeHost]:
    made: list[Host] = []

    def make(kind: str = "bare", hostname: str = "", *, registry: bool = False) -> Host:
        made.append(lab.make(kind, hostname, registry=registry))
        made[-1].of_one_test = of_one_test
        return made[-1]

    try:
        yield make
    finally:
        for host in made:
            lab.destroy(host)


@pytest.fixture
def bare_host(make_host: MakeHost) -> Host:
    """A fresh Debian 13 for one test: sshd, a sudo user, and nothing else installed."""
    return make_host()


@pytest.fixture(scope="module")
def module_host(lab: Lab) -> Iterator[Host]:
    """A bare Debian 13 that the tests of one module share."""
    with _making(lab) as make:
        yield make()


@pytest.fixture(scope="module")
def docker_host(lab: Lab) -> Iterator[Host]:
    """A Debian 13 with Docker from Debian's packages, that the tests of one module share."""
    with _making(lab) as make:
        yield make("docker")


@pytest.fixture(scope="module")
def warm_host(lab: Lab) -> Iterator[Host]:
    """A Debian 13 with Docker and the stand-in images, and a registry to pull them from; one module's tests share it."""
    with _making(lab) as make:
        yield make("warm")


@pytest.fixture
def light_host() -> Iterator[LightHost]:
    """A Debian tree with its own sshd on the loopback: where there is root but no container, it still covers the engine."""
    if reason := light.missing():
        unavailable(reason)
    host = LightHost()
    try:
        host.start()
        yield host
    finally:
        host.destroy()


@pytest.fixture(scope="module")
def light_hosts() -> Iterator[tuple[LightHost, ...]]:
    """Twenty light hosts that the tests of one module share."""
    if reason := light.missing():
        unavailable(reason)
    hosts: list[LightHost] = []
    try:
        for _ in range(20):
            hosts.append(LightHost())
            hosts[-1].start()
        yield tuple(hosts)
    finally:
        for host in hosts:
            host.destroy()


# -------------------------------------------------------------------- hooks
def configure(config: pytest.Config) -> None:
    """Let SIGTERM and SIGHUP end pytest as Ctrl-C does, so that the lab is taken down."""
    config.stash[_SKIPPED] = {}
    if threading.current_thread() is not threading.main_thread():
        return

    def end(number: int, frame: Any) -> None:
        raise KeyboardInterrupt(signal.Signals(number).name)

    for sign in (signal.SIGTERM, signal.SIGHUP):
        previous = signal.signal(sign, end)
        config.add_cleanup(partial(_restore, sign, previous))


def _restore(sign: signal.Signals, previous: Any) -> None:
    signal.signal(sign, previous)


def mark(items: list[pytest.Item]) -> None:
    """Mark the tests that use the lab. They get one more try, which the summary tells as `rerun`.

    A package mirror that hiccups or a machine that stands still for a minute is not what they are about; what is broken
    fails twice. The second try begins where the first one did: see `rewind`.
    """
    for item in items:
        if _OF_LAB.intersection(getattr(item, "fixturenames", ())):
            item.add_marker(pytest.mark.lab)
            item.add_marker(pytest.mark.flaky(reruns=_RERUNS, reruns_delay=5))


@contextlib.contextmanager
def second_try(item: pytest.Item) -> Iterator[None]:
    """Around the call of a test of the lab: when its first try fails, take its hosts back to where it began."""
    used = getattr(item, "funcargs", {}).get("lab")
    if item.get_closest_marker("lab") is None or used is None or not _may_fail(item):
        yield
        return
    moment = rewind.Moment(used)
    try:
        yield
    except (Exception, pytest.fail.Exception):
        limit(item, armed=False)
        moment.back()
        limit(item)
        raise
    finally:
        moment.forget()


def _may_fail(item: pytest.Item) -> bool:
    """Whether there would be another try; without the plugin there is none."""
    return 0 < getattr(item, "execution_count", 0) <= _RERUNS


def limit(item: pytest.Item, *, armed: bool = True) -> None:
    """Give a test all of its time anew; pytest-timeout has one limit for all tries, and none after it has passed."""
    plugin = item.config.pluginmanager.get_plugin("timeout")
    if plugin is not None:
        item.ihook.pytest_timeout_cancel_timer(item=item)
        settings = plugin._get_item_settings(item)
        if armed and settings.timeout:
            item.ihook.pytest_timeout_set_timer(item=item, settings=settings)


def said(shown: str) -> str:
    """Of a failure as pytest shows it the error itself: its first words and its last ones, a line each."""
    lines = [line[1:].strip() for line in shown.splitlines() if line.startswith("E ")]
    text = "\n    ".join(line for line in lines if line)
    return text if len(text) <= _HEAD + _TAIL else f"{text[:_HEAD]}\n    [...]\n    {text[-_TAIL:]}"


def summarise(reporter: Any) -> None:
    """Say which tests of the lab were tried again and how many did not run, and why: neither must go unnoticed."""
    for report in reporter.stats.get("rerun", []):
        reporter.write_line(f"tried again: {report.nodeid} ({report.when}): {said(report.longreprtext)}", yellow=True)
    reasons: dict[str, int] = {}
    for report in reporter.stats.get("skipped", []):
        if "lab" in report.keywords:
            reason = report.longrepr[2] if isinstance(report.longrepr, tuple) else str(report.longrepr)
            reasons[reason] = reasons.get(reason, 0) + 1
    for reason, count in reasons.items():
        plural = "s" if count > 1 else ""
        reporter.write_line(f"lab: {count} test{plural} skipped: {reason.removeprefix('Skipped: ')}", yellow=True)
