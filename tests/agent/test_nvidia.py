"""nvidia-smi's CSV, with everything that it says instead of a value."""

import pytest

from otobotctl.agent import nvidia

L4 = "GPU-5c1e2f3a-0000-1111-2222-333344445555, NVIDIA L4, 580.82.07, P8, [N/A], 0, 41, 0, 23034, 14221, 16.71, 72.00, 0\n"
BARE = "GPU-0b1e2f3a-0000-1111-2222-333344445555, NVIDIA GB10, 580.95.05, P0, [N/A], 1, 38, [N/A], [N/A], [N/A], 4.59, [N/A], [N/A]\n"
WARNING = "WARNING: infoROM is corrupted at gpu 0000:00:05.0\n"


def test_a_card_is_told_with_its_numbers():
    """MiB, W and degrees as numbers; names as they are."""
    [card] = nvidia.parse(L4)
    assert (card["name"], card["index"], card["memory.total"], card["memory.used"]) == ("NVIDIA L4", 0, 23034, 14221)
    assert card["power.draw"] == 16.71


def test_what_a_card_does_not_tell_is_none_and_warnings_are_no_cards():
    """[N/A] is no number, and must not be taken for zero."""
    cards = nvidia.parse(WARNING + L4 + BARE)
    assert [card["name"] for card in cards] == ["NVIDIA L4", "NVIDIA GB10"]
    assert cards[1]["memory.total"] is None
    assert cards[1]["utilization.gpu"] is None
    assert cards[1]["power.limit"] is None
    assert nvidia.known("[Not Supported]") is None
    assert nvidia.known("Unknown Error") is None


def test_no_driver_is_no_card(monkeypatch, tmp_path):
    """A program that fails, or is not there, tells of none."""
    monkeypatch.setattr(nvidia, "QUERY", (str(tmp_path / "nvidia-smi"),))
    assert nvidia.cards() == []
    script = tmp_path / "nvidia-smi"
    script.write_text(
        '#!/bin/sh\necho "NVIDIA-SMI has failed because it couldn\'t communicate with the driver."\nexit 9\n'
    )
    script.chmod(0o755)
    assert nvidia.cards() == []
    script.write_text(f"#!/bin/sh\nprintf '{L4.strip()}\\n'\nprintf '{BARE.strip()}\\n'\n")
    assert nvidia.room(64 << 30) == 64 << 30  # the second one has the machine's own


# In the form that nvidia-smi documents, of several drivers: what stands where a number would, and where no card answers.
A100_MIG = "GPU-3c1e, NVIDIA A100-SXM4-80GB, 535.230.02, P0, Enabled, 0, 33, [N/A], 81920, 36537, 87.10, 400.00, 0\n"
ADA = "GPU-4c1e, NVIDIA RTX 4000 Ada Generation, 550.163.01, P8, [N/A], 0, 41, 0, 20475, 2, 13.20, 130.00, 0\n"
ERR_POWER = (
    "GPU-5c1e, NVIDIA RTX A6000, 570.172.08, P8, [N/A], 1, [Unknown Error], 30, 49140, 6, [Unknown Error], 300.00, 0\n"
)
LOST = "GPU-6c1e, NVIDIA L4, 550.54.15, [GPU is lost], [GPU is lost]" + ", [GPU is lost]" * 8 + "\n"
RESET = "GPU-7c1e, NVIDIA H100 PCIe, 560.35.03, P0, Disabled, 2" + ", [GPU requires reset]" * 7 + "\n"
HANDLE = "Unable to determine the device handle for GPU0000:02:00.0: Unknown Error\n"
UNKNOWN = ", ".join(["[Unknown Error]"] * len(nvidia.FIELDS)) + "\n"
OLD_ERR = (
    "GPU-8c1e, Tesla T4, 550.90.07, ERR!, [Not Supported], 0, ERR!, ERR!, 15360, ERR!, ERR!, ERR!, [Not Supported]\n"
)


@pytest.mark.parametrize(
    ("text", "seen"),
    [
        pytest.param(ADA, [("NVIDIA RTX 4000 Ada Generation", 20475, "")], id="all is told"),
        pytest.param(A100_MIG, [("NVIDIA A100-SXM4-80GB", 81920, "")], id="no use while it is cut in slices"),
        pytest.param(ERR_POWER, [("NVIDIA RTX A6000", 49140, "")], id="two sensors fail and the card does not"),
        pytest.param(LOST, [("NVIDIA L4", None, "GPU is lost")], id="fallen off the bus"),
        pytest.param(RESET, [("NVIDIA H100 PCIe", None, "GPU requires reset")], id="waits for a reset"),
        pytest.param(OLD_ERR, [("Tesla T4", 15360, "ERR!")], id="ERR! as in the table"),
        pytest.param(
            ADA + HANDLE + UNKNOWN, [(ADA.split(", ")[1], 20475, ""), (None, None, HANDLE[:-1])], id="beside one"
        ),
        pytest.param(
            HANDLE + ADA, [(ADA.split(", ")[1], 20475, ""), (None, None, HANDLE[:-1])], id="said and not listed"
        ),
        pytest.param(UNKNOWN, [(None, None, "Unknown Error")], id="nothing but errors"),
        pytest.param(
            ADA.replace("RTX 4000", "RTX, 4000"), [("NVIDIA RTX, 4000 Ada Generation", 20475, "")], id="a comma"
        ),
        pytest.param("No devices were found\n", [], id="no card"),
        pytest.param("\nFailed to initialize NVML: Driver/library version mismatch\n", [], id="an upgraded driver"),
        pytest.param('Field "mig.mode" is not a valid field to query.\n', [], id="a field it does not know"),
        pytest.param("", [], id="silence"),
    ],
)
def test_a_card_in_trouble_is_told_and_hides_no_other(text, seen):
    """Name, memory and what is wrong, of each card; an error in one place is no zero and no other card's error."""
    found = nvidia.parse(text)
    assert [(card["name"], card["memory.total"], card["trouble"]) for card in found] == seen


def test_every_word_for_nothing_is_none():
    """A number that is none would be shown, and added up."""
    for word in (
        "[N/A]",
        "N/A",
        "[Not Supported]",
        "ERR!",
        "[Unknown Error]",
        "[GPU is lost]",
        "",
        "nan",
        "inf",
        "[Insufficient Permissions]",
    ):
        assert nvidia.number(word) is None
    assert [nvidia.number(word) for word in ("87.10 W", "81920 MiB", "33 %", "-1")] == [87.1, 81920, 33, -1]


def test_memory_is_that_of_whole_cards_that_work(monkeypatch, tmp_path):
    """One broken card makes nvidia-smi fail, and the others hold models all the same; a slice is smaller than its card."""
    script = tmp_path / "nvidia-smi"
    monkeypatch.setattr(nvidia, "QUERY", (str(script),))
    script.write_text(
        f"#!/bin/sh\ncat <<'END'\n{ADA}{A100_MIG}{LOST}{UNKNOWN}END\necho '{HANDLE.strip()}' >&2\nexit 15\n"
    )
    script.chmod(0o755)
    assert nvidia.room(64 << 30) == 20475 << 20
    assert nvidia.cards()[-1]["trouble"] == HANDLE.strip()
