"""nvidia-smi's CSV, with everything that it says instead of a value."""

from otobotctl.agent import nvidia

L4 = "GPU-5c1e2f3a-0000-1111-2222-333344445555, NVIDIA L4, 580.82.07, P8, 0, 41, 0, 23034, 14221, 16.71, 72.00, 0\n"
BARE = "GPU-0b1e2f3a-0000-1111-2222-333344445555, NVIDIA GB10, 580.95.05, P0, 1, 38, [N/A], [N/A], [N/A], 4.59, [N/A], [N/A]\n"
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
    script.write_text(f"#!/bin/sh\nprintf '{L4}'\nexit 9\n")
    script.chmod(0o755)
    assert nvidia.cards() == []
    script.write_text(f"#!/bin/sh\nprintf '{L4.strip()}\\n'\nprintf '{BARE.strip()}\\n'\n")
    assert nvidia.memory() == [23034 << 20]
