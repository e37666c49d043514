"""What goes wrong with servers, on tap: cables, power, logins, processes, disks."""

from __future__ import annotations

import contextlib
from typing import TYPE_CHECKING, Literal

from tests.lab import processes
from tests.lab.shell import run, until

if TYPE_CHECKING:
    from tests.lab.host import Host

_IMPATIENT = """mkdir -p /run/systemd/system.conf.d
printf '[Manager]\\nDefaultTimeoutStopSec=20s\\n' > /run/systemd/system.conf.d/lab.conf
systemctl daemon-reload
"""


class Faults:
    """The faults of a host, as its methods."""

    def link(self: Host, state: Literal["down", "up"]) -> None:  # type: ignore[misc]
        """Pull the network cable or put it back; packets vanish without an answer."""
        run("ip", "-n", self.slot.namespace, "link", "set", f"vb-{self.machine}", state)

    def reboot(self: Host, timeout_s: float = 180) -> str:  # type: ignore[misc]
        """Reboot and wait for a login in a new boot; return its id.

        What does not end is killed after 20 s and not after systemd's 90, in this boot alone: nobody learns from the rest.
        """
        before = self.boot_id()
        self.inside("sh", "-c", _IMPATIENT)
        # The login is cut while the command runs: its exit status says nothing.
        self.ssh("sudo -n systemctl reboot", check=False, user="root")
        return self.wait_for_login(timeout_s, other_than=before)

    def kill_sessions(self: Host) -> int:  # type: ignore[misc]
        """Kill every login from outside while sshd itself stays; return how many processes died."""
        victims = [pid for pid in self.pids() if processes.comm(pid).startswith("sshd") and not self._listens(pid)]
        processes.kill(victims)
        return len(victims)

    def _listens(self, pid: int) -> bool:
        return "[listener]" in processes.command_line(pid)

    def kill_process(self: Host, pattern: str, timeout_s: float = 30) -> int:  # type: ignore[misc]
        """Kill -9 the processes whose command line contains `pattern`, waiting for one to appear; return how many."""

        def victims() -> list[int]:
            return [pid for pid in self.pids() if pattern in processes.command_line(pid)]

        found = until(victims, f"{self.machine}: a process with {pattern!r}", timeout_s)
        processes.kill(found)
        return len(found)

    def small_disk(self: Host, path: str, size: str = "64k") -> None:  # type: ignore[misc]
        """Mount a disk of `size` at `path` in the host; `large_disk` takes it away."""
        self.inside("mkdir", "-p", path)
        self.inside("mount", "-t", "tmpfs", "-o", f"size={size},mode=755", "small", path)

    def fill_disk(self: Host, path: str) -> None:  # type: ignore[misc]
        """Use up what is free on the small disk at `path`."""
        self.inside("sh", "-c", f"cat /dev/zero > '{path}/ballast' 2>/dev/null; true")

    def free_disk(self: Host, path: str) -> None:  # type: ignore[misc]
        """Give back what `fill_disk` used."""
        self.inside("rm", "-f", f"{path}/ballast")

    def large_disk(self: Host, path: str) -> None:  # type: ignore[misc]
        """Take the small disk at `path` away."""
        self.inside("umount", path)

    def remove_python(self: Host) -> None:  # type: ignore[misc]
        """Take Python away, as small images do."""
        installed = (
            "$(dpkg-query -W -f '${db:Status-Abbrev} ${Package}\\n' 'python3*' 'libpython3*' | sed -n 's/^ii *//p')"
        )
        self.inside("sh", "-c", f"apt-get purge -qy {installed} 2>&1", timeout_s=180)

    def boot_id(self: Host) -> str:  # type: ignore[misc]
        """Return what tells this boot from another one."""
        return self.ssh("cat /proc/sys/kernel/random/boot_id").stdout.strip()

    def require_sudo_password(self: Host, password: str) -> None:  # type: ignore[misc]
        """Let the user's sudo ask for `password`."""
        run("chroot", self.root, "chpasswd", stdin=f"{self.user}:{password}\n")
        with contextlib.suppress(FileNotFoundError):
            (self.root / "etc/sudoers.d/90-cloud-init-users").unlink()
