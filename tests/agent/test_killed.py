"""Whom the kernel killed for want of memory, in the words of real kernels."""

from __future__ import annotations

import pytest

from otobotctl.agent import killed

ID = "be700b549837e08c124c5c8ea5970fb334eda2b5e5f163e73a20d814bb756067"
BEGIN = f"oom-kill:constraint=CONSTRAINT_MEMCG,nodemask=(null),cpuset={ID},mems_allowed=0,oom_memcg=/docker/{ID}"

GLOBAL = (
    "oom-kill:constraint=CONSTRAINT_NONE,nodemask=(null),cpuset=/,mems_allowed=0,global_oom,"
    "task_memcg=/user.slice/user-0.slice/session-3.scope,task=stress,pid=4242,uid=0"
)


@pytest.mark.parametrize(
    ("line", "container", "task"),
    [
        (f"{BEGIN},task_memcg=/docker/{ID},task=redis-server,pid=31958,uid=100", ID, "redis-server"),
        (f"{BEGIN},task_memcg=/system.slice/docker-{ID}.scope,task=node,pid=1,uid=0", ID, "node"),
        (f"{BEGIN},task_memcg=/docker/{ID},task=a, b,pid=7,uid=0", ID, "a, b"),
        (GLOBAL, "", "stress"),
    ],
    ids=["cgroupfs", "systemd", "a comma in a name", "of the whole machine"],
)
def test_a_kill_is_read_with_whose_it_was(line, container, task):
    """Docker's id where the process was in a container, else nothing; with or without the kernel's own clock."""
    wanted = [{"time": 1795298079.376361, "task": task, "container": container}]
    assert killed.parse(f"1795298079.376361 vps-1 kernel: {line}\n") == wanted
    assert killed.parse(f"1795298079.376361 vps-1 kernel: [37125.376361] {line}\n") == wanted


def test_other_lines_are_none():
    """What the kernel says around a kill, and what a program only says of one."""
    lines = (
        "1795298079.37 vps-1 kernel: redis-server invoked oom-killer: gfp_mask=0x100cca(GFP_HIGHUSER_MOVABLE), order=0",
        f"1795298079.37 vps-1 sshd[7]: {BEGIN},task_memcg=/docker/{ID},task=redis-server,pid=31958,uid=100",
        "-- No entries --",
    )
    assert killed.parse("\n".join(lines)) == []
