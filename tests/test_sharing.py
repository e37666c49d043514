"""Which process gets which module, without starting any."""

from __future__ import annotations

from types import SimpleNamespace

import pytest

from tests.sharing import BySharing

MODULES = ["e2e/test_a", "e2e/test_b", "e2e/test_c", "render/test_d", "vault_api/test_e", "workflows/test_f"]
TESTS = [f"tests/{module}.py::test_{number}" for module in MODULES for number in range(3)]


class Node:
    """What the scheduler knows of a process: its name, and what it was told to run."""

    shutting_down = False

    def __init__(self, number: int) -> None:
        self.gateway = SimpleNamespace(id=f"gw{number}")
        self.given: list[str] = []

    def send_runtest_some(self, indices: list[int]) -> None:
        self.given += [MODULES[index // 3] for index in indices if index % 3 == 0]

    def shutdown(self) -> None:
        self.shutting_down = True


def begun(processes: int) -> tuple[BySharing, list[Node]]:
    """A scheduler that has given each process its first module."""
    option = SimpleNamespace(loadscopereorder=False)
    config = SimpleNamespace(getvalue=lambda name: ["popen"] * processes, option=option)
    silent = SimpleNamespace(loadscopesched=lambda *words: None, loadfilesched=lambda *words: None)
    scheduler = BySharing(config, silent)
    nodes = [Node(number) for number in range(processes)]
    for node in nodes:
        scheduler.add_node(node)
        scheduler.add_node_collection(node, TESTS)
    scheduler.schedule()
    return scheduler, nodes


def done(scheduler: BySharing, node: Node) -> None:
    """The process has run two of the three tests of the module that it got last."""
    first = 3 * MODULES.index(node.given[-1])
    for index in (first, first + 1):
        scheduler.mark_test_complete(node, index)


@pytest.fixture(autouse=True)
def bases(monkeypatch):
    """They are there; nothing of the run that runs this is meant."""
    monkeypatch.delenv("OTOBOT_TESTS_LAB", raising=False)


def test_two_begin_in_front_and_the_third_at_the_back():
    """Never three of those with hosts at once while there are others."""
    _, nodes = begun(3)
    assert [node.given for node in nodes] == [["e2e/test_a"], ["e2e/test_b"], ["workflows/test_f"]]


def test_everything_is_given_once_and_all_end():
    """Whichever process is done first: each module goes to one of them."""
    scheduler, nodes = begun(3)
    while any(not node.shutting_down for node in nodes):
        for node in nodes:
            done(scheduler, node)
    assert sorted(module for node in nodes for module in node.given) == sorted(MODULES)


def test_nobody_waits_for_bases_that_are_being_made(monkeypatch, tmp_path):
    """Until the file tells of them all take from the back; then the two take what needs hosts."""
    told = tmp_path / "ready"
    monkeypatch.setenv("OTOBOT_TESTS_LAB", str(told))
    scheduler, nodes = begun(2)
    assert [node.given for node in nodes] == [["workflows/test_f"], ["vault_api/test_e"]]
    told.touch()
    done(scheduler, nodes[0])
    assert nodes[0].given == ["workflows/test_f", "e2e/test_a"]
