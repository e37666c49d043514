"""Which driver a card gets, from what lspci, ubuntu-drivers, mokutil and nvidia-smi say; the lines are such as people have published."""

import pytest

from otobotctl.agent import drivers

LSPCI = """\
00:00.0 0600: 8086:1237 (rev 02)
00:02.0 0300: 1013:00b8
00:05.0 0302: 10de:27b8 (rev a1)
01:00.0 0300: 10de:2684 (rev a1)
01:00.1 0403: 10de:22ba (rev a1)
"""
NOBLE = """\
nvidia-driver-535-server-open, (kernel modules provided by linux-modules-nvidia-535-server-open-generic)
nvidia-driver-570-server, (kernel modules provided by linux-modules-nvidia-570-server-generic)
nvidia-driver-580-server-open, (kernel modules provided by linux-modules-nvidia-580-server-open-generic)
nvidia-driver-580-server, (kernel modules provided by linux-modules-nvidia-580-server-generic)
nvidia-driver-590-open, (kernel modules provided by linux-modules-nvidia-590-open-generic)
"""
JAMMY = """\
This is gpgpu mode
nvidia-driver-418-server, (kernel modules provided by nvidia-dkms-418-server)
nvidia-driver-470-server, (kernel modules provided by linux-modules-nvidia-470-server-generic-hwe-22.04)
nvidia-driver-565-server, (kernel modules provided by nvidia-dkms-565-server)
nvidia-driver-550, (kernel modules provided by linux-modules-nvidia-550-generic-hwe-22.04)
"""


def test_only_display_and_3d_controllers_of_nvidia_are_cards():
    """Not another maker's screen, and not a card's sound."""
    assert drivers.cards(LSPCI) == ["27b8", "2684"]
    assert drivers.cards("00:02.0 0300: 1013:00b8\n") == []


@pytest.mark.parametrize(
    ("said", "pinned", "secured", "branch"),
    [
        pytest.param(NOBLE, "", True, "580-server", id="the newest signed server branch, proprietary"),
        pytest.param(NOBLE, "570-server", True, "570-server", id="the one that is pinned"),
        pytest.param(JAMMY, "", True, "550", id="signed wins over newer"),
        pytest.param(
            "nvidia-driver-580-server-open, (kernel modules provided by linux-modules-nvidia-580-server-open-gcp)\n",
            "",
            True,
            "580-server-open",
            id="a card that has the open one alone",
        ),
        pytest.param(
            "nvidia-driver-565-server, (kernel modules provided by nvidia-dkms-565-server)\n",
            "",
            False,
            "565-server",
            id="built here, where nothing asks for a signature",
        ),
    ],
)
def test_a_branch_is_chosen(said, pinned, secured, branch):
    """By signature first, then server, then the newest."""
    chosen = drivers.choose(drivers.offered(said), pinned, secured)
    assert (chosen["branch"], chosen["refused"]) == (branch, "")


@pytest.mark.parametrize(
    ("said", "pinned", "why"),
    [
        pytest.param("", "", "offered: none", id="nothing is offered"),
        pytest.param(JAMMY, "580-server", "no driver 580-server is offered", id="another is pinned"),
        pytest.param(
            "nvidia-driver-470-server, (kernel modules provided by linux-modules-nvidia-470-server-generic)\n",
            "",
            "550 or newer",
            id="too old",
        ),
        pytest.param(
            "nvidia-driver-565-server, (kernel modules provided by nvidia-dkms-565-server)\n",
            "",
            "Secure Boot is on",
            id="unsigned",
        ),
    ],
)
def test_what_cannot_work_is_refused_with_its_reason(said, pinned, why):
    """With Secure Boot, so that nothing is installed that would not load."""
    chosen = drivers.choose(drivers.offered(said), pinned, secured=True)
    assert not chosen["branch"]
    assert why in chosen["refused"]


def test_secure_boot_is_what_mokutil_says():
    """A machine without EFI has none."""
    assert drivers.secure_boot("SecureBoot enabled\n")
    assert not drivers.secure_boot("SecureBoot disabled\nPlatform is in Setup Mode\n")
    assert not drivers.secure_boot("EFI variables are not supported on this system\n")


def test_the_running_driver_is_read_from_nvidia_smi():
    """One version however many cards; none where it cannot talk to the driver."""
    assert drivers.running("580.82.07\n580.82.07\n") == "580.82.07"
    assert drivers.running("NVIDIA-SMI has failed because it couldn't communicate with the NVIDIA driver.\n") is None
    assert drivers.number("580.82.07") == 580
    assert drivers.number("") == 0
