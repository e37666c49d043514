"""The ssh door against a real sshd."""

from __future__ import annotations

import contextlib
import hashlib
import os
import signal
import socket
from pathlib import Path

import pytest

from otobotctl.errors import HostKeyError, HostUnreachableError
from otobotctl.transport import hostkeys
from otobotctl.transport.ssh import Settings, open_door
from tests.transport import sshd
from tests.transport.delay_proxy import proxied
from tests.waiting import until


def run(door, *argv, stdin=b"", silence_s=60.0):
    """One execution to its end: its lines and how it finished."""
    channel = door.execute(argv, silence_s=silence_s)
    channel.send(stdin)
    return list(channel.lines()), channel.finish()


@pytest.fixture(scope="module")
def door(server, tmp_path_factory):
    """One door for the tests that only run commands."""
    known_hosts = tmp_path_factory.mktemp("pins") / "known_hosts"
    hostkeys.pin(known_hosts, "vps-1", server.host_key)
    found = open_door(server.target(known_hosts), settings=Settings(persist_s=0, config=Path("/dev/null")))
    yield found
    found.close()


def alive(pid):
    """Whether a process runs; one that ended and was not reaped yet does not."""
    try:
        return Path(f"/proc/{pid}/stat").read_text().rsplit(")", 1)[1].split()[0] != "Z"
    except FileNotFoundError:
        return False


def masters(sockets):
    """The pids of shared connections over sockets of this test."""
    found = []
    for entry in Path("/proc").iterdir():
        if entry.name.isdigit():
            with contextlib.suppress(OSError):
                words = (entry / "cmdline").read_text(errors="replace")
                if words.startswith("ssh") and str(sockets) in words and alive(entry.name):
                    found.append(int(entry.name))
    return found


def test_argv_arrives_as_it_was_written(door):
    """Words reach the program whole, whatever a shell would make of them."""
    words = ("a b", "$HOME", "*", "'", '"', "", ";true", "é")
    lines, finished = run(door, "printf", r"%s\n", *words)
    assert lines == [word.encode() for word in words]
    assert finished.status == 0


def test_status_and_stderr_come_back(door):
    """The command's own exit status and the end of its stderr are told; output without a last newline too."""
    lines, finished = run(door, "sh", "-c", "printf tail; echo trouble >&2; exit 3")
    assert (lines, finished.status, finished.stderr) == ([b"tail"], 3, "trouble\n")


def test_long_stderr_is_bounded_and_does_not_block(door):
    """A command that floods stderr ends, and the last 64 KiB are kept."""
    _, finished = run(door, "sh", "-c", "head -c 3000000 /dev/zero | tr '\\0' x >&2; echo end >&2")
    assert len(finished.stderr) == 65536
    assert finished.stderr.endswith("xend\n")


def test_large_stdin_is_streamed(door):
    """20 MB arrive unharmed while the command answers at the same time."""
    data = os.urandom(1 << 20) * 20
    script = f"head -c {len(data)} | tee /dev/stderr 2>/dev/null | sha256sum; head -c 200000 /dev/zero"
    lines, finished = run(door, "sh", "-c", script, stdin=data)
    assert lines[0].split()[0].decode() == hashlib.sha256(data).hexdigest()
    assert finished.status == 0


def test_command_that_does_not_read_its_stdin_tells_its_own_status(door):
    """A command that ends before it took its input is not a lost line."""
    _, finished = run(door, "sh", "-c", "exit 4", stdin=b"x" * (8 << 20))
    assert finished.status == 4


def test_lines_are_live(door):
    """A line is there before the command ends, and the answer to it reaches the command."""
    channel = door.execute(("sh", "-c", "echo ask; read answer; echo got $answer"), silence_s=60)
    lines = iter(channel.lines())
    assert next(lines) == b"ask"
    channel.send(b"yes\n")
    assert list(lines) == [b"got yes"]
    assert channel.finish().status == 0


def test_one_connection_serves_every_execution(server, known_hosts, opened, sockets):
    """Executions of a door, and of the next door, share one login while the connection persists."""
    before = server.logins()
    target = server.target(known_hosts)
    first = opened(target, persist_s=60)
    for number in range(3):
        assert run(first, "echo", str(number))[0] == [str(number).encode()]
    first.close()
    assert run(opened(target, persist_s=60), "true")[1].status == 0
    assert server.logins() - before == 1
    assert len(masters(sockets)) == 1


def test_a_renewed_door_logs_in_anew_and_cuts_nobody_off(server, known_hosts, opened):
    """What still runs over the old connection goes on to its end."""
    door = opened(server.target(known_hosts), persist_s=60)
    before = server.logins()
    older = door.execute(("sh", "-c", "echo begun; read word; echo $word"), silence_s=60)
    lines = iter(older.lines())
    assert next(lines) == b"begun"
    door.renew()
    assert run(door, "true")[1].status == 0
    assert server.logins() - before == 2
    older.send(b"done\n")
    assert (list(lines), older.finish().status) == ([b"done"], 0)


def test_door_without_persistence_leaves_no_process(server, known_hosts, opened, sockets):
    """persist_s=0: the connection ends with its door, and so does what still runs."""
    door = opened(server.target(known_hosts), persist_s=0)
    run(door, "true")
    running = door.execute(("sh", "-c", "echo started; cat"), silence_s=60)
    assert next(iter(running.lines())) == b"started"
    door.close()
    until(lambda: not masters(sockets), "the shared connection ends")
    assert not list(sockets.iterdir())


def test_other_pins_never_share_a_connection(server, known_hosts, opened, tmp_path):
    """A connection made under one pin is not used once the pin is another."""
    target = server.target(known_hosts)
    assert run(opened(target, persist_s=60), "true")[1].status == 0
    hostkeys.pin(known_hosts, "vps-1", sshd.new_key(tmp_path / "other"))
    with pytest.raises(HostKeyError):
        run(opened(target, persist_s=60), "true")


def test_closing_a_channel_ends_the_command(door):
    """The remote side of a dropped execution sees its stdin end; the door still works."""
    channel = door.execute(("sh", "-c", "echo $$; cat"), silence_s=60)
    pid = int(next(iter(channel.lines())))
    channel.close()
    channel.close()
    until(lambda: not alive(pid), "the remote command ends")
    assert run(door, "echo", "on")[0] == [b"on"]


def test_silence_is_a_dead_line(server, known_hosts, opened):
    """No byte for silence_s raises exit code 13, and the next execution makes a new connection."""
    door = opened(server.target(known_hosts))
    before = server.logins()
    channel = door.execute(("sh", "-c", "echo ready; sleep 600"), silence_s=0.5)
    with pytest.raises(HostUnreachableError, match="nothing heard") as caught:
        list(channel.lines())
    assert caught.value.exit_code == 13
    assert run(door, "echo", "back")[0] == [b"back"]
    assert server.logins() - before == 2


def test_beats_keep_a_slow_command_alive(door):
    """Silence counts from the last byte, not from the start."""
    script = "for i in 1 2 3 4 5 6 7 8; do echo $i; sleep 0.25; done"
    lines, finished = run(door, "sh", "-c", script, silence_s=1.5)
    assert (len(lines), finished.status) == (8, 0)


def test_frozen_line_while_sending(server, known_hosts, opened):
    """A line that dies under a large upload is told, not waited for without end."""
    with proxied("127.0.0.1", server.port) as proxy:
        door = opened(server.target(known_hosts, port=proxy.port))
        channel = door.execute(("sh", "-c", "echo ready; sleep 600"), silence_s=1)
        assert next(iter(channel.lines())) == b"ready"
        proxy.freeze()
        with pytest.raises(HostUnreachableError):
            for _ in range(200):
                channel.send(b"x" * (1 << 20))


def test_connection_that_died_unnoticed_is_replaced(server, known_hosts, opened, sockets):
    """After a link loss the next call finds a shared connection that leads nowhere, and succeeds over a new one."""
    with proxied("127.0.0.1", server.port) as proxy:
        target = server.target(known_hosts, port=proxy.port)
        timing = {"persist_s": 60, "alive_interval_s": 1, "alive_count": 1, "connect_timeout_s": 30}
        run(opened(target, **timing), "true")
        proxy.freeze()
        lines, finished = run(opened(target, **timing), "head", "-c", "12", stdin=b"carried over")
        assert (lines, finished.status) == ([b"carried over"], 0)
        assert proxy.connections == 2


def test_stale_socket_is_no_obstacle(server, known_hosts, opened, sockets):
    """A control socket whose master was killed does not break the next call."""
    target = server.target(known_hosts)
    run(opened(target, persist_s=60), "true")
    (pid,) = masters(sockets)
    os.kill(pid, signal.SIGKILL)
    until(lambda: not alive(pid), "the master is gone")
    assert list(sockets.iterdir())
    assert run(opened(target, persist_s=60), "echo", "again")[0] == [b"again"]


def test_stopped_master_does_not_hang_the_door(server, known_hosts, opened, sockets, monkeypatch):
    """A master that does not answer its own socket is left alone, and a new connection is made."""
    monkeypatch.setattr("otobotctl.transport.ssh._CONTROL_S", 0.3)
    door = opened(server.target(known_hosts), persist_s=60)
    run(door, "true")
    (pid,) = masters(sockets)
    os.kill(pid, signal.SIGSTOP)
    try:
        door.drop()
        assert run(door, "echo", "new")[0] == [b"new"]
    finally:
        os.kill(pid, signal.SIGKILL)


def test_connection_cut_in_the_middle(server, known_hosts, opened):
    """A line that breaks under a running command raises exit code 13, and the command is not started twice."""
    with proxied("127.0.0.1", server.port) as proxy:
        door = opened(server.target(known_hosts, port=proxy.port))
        before = server.sessions()
        channel = door.execute(("sh", "-c", "echo ready; sleep 600"), silence_s=60)
        lines = iter(channel.lines())
        assert next(lines) == b"ready"
        proxy.cut()
        with pytest.raises(HostUnreachableError, match="lost"):
            next(lines)
        assert server.sessions() - before == 1


def test_unknown_key_is_refused(server, tmp_path, opened):
    """A host without a pin is exit code 12, and the hint is the command that pins it."""
    with pytest.raises(HostKeyError, match="not pinned") as caught:
        run(opened(server.target(tmp_path / "known_hosts")), "true")
    assert caught.value.exit_code == 12
    assert caught.value.hint == "otobotctl host trust vps-1"
    assert not (tmp_path / "known_hosts").exists()


def test_changed_key_is_refused(server, known_hosts, tmp_path, opened):
    """Another key than the pinned one is exit code 12; both meanings, the check and the shown key are told."""
    hostkeys.pin(known_hosts, "vps-1", sshd.new_key(tmp_path / "other"))
    with pytest.raises(HostKeyError, match="has changed") as caught:
        run(opened(server.target(known_hosts)), "true")
    assert caught.value.exit_code == 12
    assert "attack" in caught.value.hint
    assert "ssh-keygen -lf" in caught.value.hint
    assert "otobotctl host trust vps-1" in caught.value.hint
    assert server.host_key.fingerprint in caught.value.details[0]


def test_refused_login(server, known_hosts, tmp_path, opened):
    """A key that the host does not know is exit code 13 with what to do about it."""
    sshd.new_key(tmp_path / "stranger")
    target = server.target(known_hosts, identity=tmp_path / "stranger")
    with pytest.raises(HostUnreachableError, match="may not log in") as caught:
        run(opened(target), "true")
    assert "authorized_keys" in caught.value.hint
    assert "Permission denied" in caught.value.details[0]


def test_refused_port(server, known_hosts, opened):
    """A closed port is exit code 13 and names the address and the port."""
    port = sshd.free_port()
    with pytest.raises(HostUnreachableError, match=rf"vps-1 \(127.0.0.1:{port}\): connection refused") as caught:
        run(opened(server.target(known_hosts, port=port)), "true")
    assert caught.value.exit_code == 13


def test_address_that_never_answers(server, known_hosts, opened):
    """A port that accepts and says nothing is given up after the connect timeout."""
    with socket.create_server(("127.0.0.1", 0)) as mute:
        target = server.target(known_hosts, port=mute.getsockname()[1])
        with pytest.raises(HostUnreachableError, match="no answer"):
            run(opened(target, connect_timeout_s=1), "true")


def test_name_that_does_not_resolve(server, known_hosts, opened):
    """An unknown name is told as such, and an address that looks like an option is only an address."""
    for address in ("no-such-host.invalid", "-oProxyCommand=false"):
        with pytest.raises(HostUnreachableError, match="does not resolve"):
            run(opened(server.target(known_hosts, address=address)), "true")


def test_ssh_configuration_is_honoured_but_the_manifest_wins(server, known_hosts, tmp_path, opened):
    """An alias gives the address and the key; port, user and pinning stay the manifest's."""
    config = tmp_path / "config"
    config.write_text(
        f"Host alias\n  HostName 127.0.0.1\n  Port 1\n  User nobody\n  IdentityFile {server.key}\n"
        "  StrictHostKeyChecking no\n  RemoteCommand false\n  RequestTTY force\n  LocalForward 1 127.0.0.1:1\n"
    )
    target = server.target(known_hosts, address="alias", identity=None)
    assert run(opened(target, config=config), "echo", "hi")[0] == [b"hi"]
    hostkeys.unpin(known_hosts, "vps-1")
    with pytest.raises(HostKeyError):
        run(opened(target, config=config), "true")


def test_jump_host(server, known_hosts, opened):
    """Through a jump host, both keys pinned under their own names; one login on each."""
    hostkeys.pin(known_hosts, "bastion", server.host_key)
    jump = server.target(known_hosts, name="bastion")
    before = server.logins()
    assert run(opened(server.target(known_hosts, jump=jump)), "echo", "far")[0] == [b"far"]
    assert server.logins() - before == 2


def test_jump_host_with_an_unknown_key(server, known_hosts, opened):
    """The error names the jump host, not the host behind it."""
    jump = server.target(known_hosts, name="bastion")
    with pytest.raises(HostKeyError, match="bastion") as caught:
        run(opened(server.target(known_hosts, jump=jump)), "true")
    assert caught.value.hint == "otobotctl host trust bastion"


def test_jump_host_that_refuses_the_login(server, known_hosts, tmp_path, opened):
    """The error is the jump host's."""
    hostkeys.pin(known_hosts, "bastion", server.host_key)
    sshd.new_key(tmp_path / "stranger")
    jump = server.target(known_hosts, name="bastion", identity=tmp_path / "stranger")
    with pytest.raises(HostUnreachableError, match=r"^bastion .*may not log in"):
        run(opened(server.target(known_hosts, jump=jump)), "true")


def test_host_that_its_jump_host_cannot_reach(server, known_hosts, opened):
    """The error is the host's."""
    hostkeys.pin(known_hosts, "bastion", server.host_key)
    jump = server.target(known_hosts, name="bastion")
    with pytest.raises(HostUnreachableError, match=r"^vps-1 .*jump host cannot reach it"):
        run(opened(server.target(known_hosts, jump=jump, port=sshd.free_port())), "true")


def test_ipv6(tmp_path, opened):
    """An IPv6 address works, with and without brackets, and through a jump host."""
    try:
        sshd.free_port("::1")
    except OSError:
        pytest.skip("this machine has no ::1")
    with sshd.running(tmp_path / "six", "::1") as server:
        known_hosts = tmp_path / "known_hosts"
        hostkeys.pin(known_hosts, "vps-1", server.host_key)
        jump = server.target(known_hosts)
        for target in (jump, server.target(known_hosts, address="[::1]"), server.target(known_hosts, jump=jump)):
            assert run(opened(target), "echo", "six")[0] == [b"six"]


def test_interrupt_does_not_reach_ssh(door):
    """The client runs in a session of its own, so that the terminal's Ctrl-C leaves the shared connection alone."""
    channel = door.execute(("cat",), silence_s=60)
    assert os.getsid(channel._process.pid) == channel._process.pid
    channel.close()
