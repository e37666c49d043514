"""The channel with processes that play ssh."""

from __future__ import annotations

import subprocess

import pytest

from otobotctl.errors import HostUnreachableError
from otobotctl.transport import failures
from otobotctl.transport.channel import Line, ProcessChannel, piped

DIED = "mux_client_request_session: read from master failed: Broken pipe"


def played(scripts, silence_s=60.0):
    """A channel whose n-th process runs the n-th script; later ones have a minute. Also the list of drops."""
    left, dropped, channels = list(scripts), [], []

    def spawn():
        if channels:
            channels[0]._silence_s = 60.0
        return piped(("sh", "-c", left.pop(0)))

    def drop():
        dropped.append(True)
        channels[0]._process.terminate()

    line = Line(
        spawn=spawn,
        failure=lambda status, said, opened: HostUnreachableError("lost") if status == 255 else None,
        silent=lambda seconds: HostUnreachableError("silent"),
        drop=drop,
        never_opened=failures.never_opened,
    )
    channel = ProcessChannel(line, silence_s)
    channels.append(channel)
    return channel, dropped


def test_command_that_never_started_is_started_once_more():
    """What was sent before is sent again over the new connection."""
    channel, _ = played([f"echo '{DIED}' >&2; exit 255", "head -c 8; exit 5"])
    channel.send(b"one\n")
    channel.send(b"two\n")
    assert list(channel.lines()) == [b"one", b"two"]
    finished = channel.finish()
    assert (finished.status, finished.stderr) == (5, "")


def test_second_failure_is_told():
    """A command is not started over and over."""
    channel, _ = played([f"echo '{DIED}' >&2; exit 255"] * 2)
    with pytest.raises(HostUnreachableError, match="lost"):
        list(channel.lines())


def test_command_that_answered_is_not_started_again():
    """After the first byte of output nothing is repeated, whatever stderr says."""
    channel, _ = played([f"echo begun; echo '{DIED}' >&2; exit 255"])
    with pytest.raises(HostUnreachableError, match="lost"):
        list(channel.lines())


def test_more_than_can_be_repeated_is_not_repeated():
    """Half of an upload never starts a command."""
    channel, _ = played([f"head -c 2000000 >/dev/null; echo '{DIED}' >&2; exit 255"])
    channel.send(b"x" * 2_000_000)
    with pytest.raises(HostUnreachableError, match="lost"):
        list(channel.lines())


def test_silent_shared_connection_is_dropped_and_replaced():
    """When nothing comes, the shared connection goes; ssh then says whether the command had started."""
    channel, dropped = played(
        [f"trap 'echo \"{DIED}\" >&2; exit 255' TERM; while :; do sleep 0.05; done", "head -c 12"], silence_s=0.5
    )
    channel.send(b"carried over")
    assert list(channel.lines()) == [b"carried over"]
    assert dropped == [True]
    assert channel.finish().status == 0


def test_silent_command_is_given_up():
    """A command that may have started is not repeated after a silence."""
    channel, dropped = played(["exec sleep 600"], silence_s=0.2)
    with pytest.raises(HostUnreachableError, match="silent"):
        list(channel.lines())
    assert dropped == [True]


def test_output_that_ended_before_the_process_did():
    """A process that closed its stdout and goes on is waited for, its stderr taken in meanwhile."""
    channel, _ = played(["echo out; exec >&-; head -c 300000 /dev/zero | tr '\\0' x >&2; sleep 0.2; exit 7"])
    assert list(channel.lines()) == [b"out"]
    finished = channel.finish()
    assert (finished.status, len(finished.stderr)) == (7, 65536)


def test_stderr_held_open_by_another_does_not_hold_the_end():
    """A shared connection may keep stderr open after its command: the exit status counts."""
    channel, _ = played(["sleep 600 >/dev/null </dev/null & echo $!; exit 0"])
    (line,) = channel.lines()
    assert channel.finish().status == 0
    subprocess.run(("kill", line.decode()), check=True)


def test_unread_output_does_not_block_a_sender():
    """Both directions move in one loop: a command that echoes megabytes takes megabytes."""
    data = b"".join(b"%d\n" % number for number in range(400_000))
    channel, _ = played([f"exec head -c {len(data)}"])
    channel.send(data)
    assert b"".join(line + b"\n" for line in channel.lines()) == data
    assert channel.finish().status == 0


def test_bytes_are_read_between_lines_as_they_are():
    """A record announces raw bytes with newlines among them; the next line begins right behind."""
    channel, _ = played([r"printf 'next 5\na\nb\n\nlast\nnext 300000\n'; head -c 300000 /dev/zero; printf 'end\n'"])
    lines = iter(channel.lines())
    assert next(lines) == b"next 5"
    assert channel.read(5) == b"a\nb\n\n"
    assert [next(lines), next(lines)] == [b"last", b"next 300000"]
    assert channel.read(300_000) == bytes(300_000)
    assert list(lines) == [b"end"]
    channel.close()


def test_bytes_that_end_too_early_are_fewer():
    """Whoever reads them compares; a line that was lost is an error of its own."""
    channel, _ = played(["printf 'abc'"])
    assert channel.read(10) == b"abc"
    assert channel.read(10) == b""
    channel.close()
    lost, _ = played(["printf 'abc'; exit 255"])
    with pytest.raises(HostUnreachableError, match="lost"):
        lost.read(10)


def test_what_did_not_fit_is_sent_once_over_the_new_connection():
    """More than a pipe holds was on its way when the shared connection had died: nothing of it comes twice."""
    sent = b"".join(b"%06d\n" % number for number in range(40_000))
    dies = f"trap 'echo \"{DIED}\" >&2; exit 255' TERM; while :; do sleep 0.05; done"
    channel, _ = played([dies, f"head -c {len(sent)}; timeout 1 cat"], silence_s=0.5)
    channel.send(sent)
    assert b"".join(line + b"\n" for line in channel.lines()) == sent
    channel.close()
