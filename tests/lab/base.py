"""The bare base: Debian 13 as a provider hands it over, and no more. Docker, ufw and the rest are for the tool under test."""

from __future__ import annotations

import shutil
from pathlib import Path

from tests.lab import pool, registry
from tests.lab.debian import authorities, digest, sources, tar
from tests.lab.network import nameserver
from tests.lab.pool import Pool
from tests.lab.shell import run
from tests.lab.slot import home, locked

SUITE = "trixie"
USER = "ubuntu"
_FILES = Path(__file__).parent / "files"
_PACKAGES = (
    "systemd-sysv,dbus,libpam-systemd,openssh-server,sudo,iproute2,iputils-ping,procps,less,ca-certificates,curl,gnupg,"
    "python3,cron,iptables,nftables,kmod,udev,apt-utils,tzdata,logrotate,mount,util-linux,e2fsprogs"
)


def key() -> Path:
    """Return the private key that every host of this machine's labs lets in; it is made the first time."""
    path = home() / "keys" / "id_ed25519"
    with locked(home() / "keys.lock"):
        if not path.exists():
            path.parent.mkdir(mode=0o700, exist_ok=True)
            part = path.with_name("part")
            for stale in (part, part.with_name("part.pub")):
                stale.unlink(missing_ok=True)
            run("ssh-keygen", "-q", "-t", "ed25519", "-N", "", "-C", "lab", "-f", part)
            part.with_name("part.pub").rename(path.with_name("id_ed25519.pub"))
            part.rename(path)
    return path


def bare_tar() -> Path:
    return tar(SUITE, SUITE, "--variant=minbase", f"--include={_PACKAGES}")


def bare_digest() -> str:
    """Return what changes whenever the bare system would."""
    given = (key().with_name("id_ed25519.pub"), *authorities(), registry.authority(), *sorted(_FILES.glob("guest*")))
    return digest(Path(__file__), *given, nameserver(), *sources(SUITE))


def bare() -> str:
    """Return the name of the bare base, built when it is missing (about 30 s the first time)."""
    name = f"bare-{bare_digest()}"
    with locked(home() / "bare.lock"):
        if Pool.find(name) is None:
            tree = Pool.scratch("bare")
            pool.create(tree)
            unpack(tree)
            Pool.freeze(tree, name)
            pool.delete(tree)
    return name


def unpack(root: Path) -> None:
    """Fill `root` with the bare system."""
    run("tar", "-xf", bare_tar(), "-C", root, "--numeric-owner", timeout_s=300)
    customise(root)


def put(root: Path, path: str, text: str, mode: int = 0o644) -> None:
    """Write a file of a host from outside."""
    target = root / path.lstrip("/")
    target.parent.mkdir(parents=True, exist_ok=True)
    target.write_text(text)
    target.chmod(mode)


def customise(root: Path) -> None:
    """Make a plain Debian a fresh server: a sudo user and root with the lab's key, systemd-networkd, sshd that logs sessions."""
    run("chroot", root, "useradd", "-m", "-s", "/bin/bash", "-G", "sudo", USER)
    put(root, "/etc/sudoers.d/90-cloud-init-users", f"{USER} ALL=(ALL) NOPASSWD:ALL\n", 0o440)
    for home_directory in (f"/home/{USER}", "/root"):
        put(root, f"{home_directory}/.ssh/authorized_keys", key().with_name("id_ed25519.pub").read_text(), 0o600)
        (root / home_directory.lstrip("/") / ".ssh").chmod(0o700)
    run("chroot", root, "chown", "-R", f"{USER}:{USER}", f"/home/{USER}")
    trust(root, *authorities(), registry.authority())
    forget_identity(root)
    (root / "etc/resolv.conf").unlink(missing_ok=True)
    put(root, "/etc/resolv.conf", f"nameserver {nameserver()}\n")
    put(root, "/etc/apt/apt.conf.d/99lab", (_FILES / "guest.apt.conf").read_text())
    put(root, "/etc/ssh/sshd_config.d/10-lab.conf", "LogLevel VERBOSE\nMaxStartups 100:30:200\n")
    # One unit of the lab's own: systemd-nspawn mounts version 1 controllers read-only, and a Docker inside makes groups there.
    put(root, "/usr/local/lib/lab-guest", (_FILES / "guest.sh").read_text(), 0o755)
    put(root, "/etc/systemd/system/lab-guest.service", (_FILES / "guest.service").read_text())
    run("chroot", root, "systemctl", "enable", "systemd-networkd", "ssh", "lab-guest")
    run("chroot", root, "systemctl", "mask", "systemd-modules-load.service")


def trust(root: Path, *certificates: Path) -> None:
    """Let a host trust more certificate authorities."""
    for number, certificate in enumerate(certificates):
        put(root, f"/usr/local/share/ca-certificates/lab-{number}.crt", certificate.read_text())
    run("chroot", root, "update-ca-certificates")


def forget_identity(root: Path) -> None:
    """Remove what two machines must not share."""
    for path in (root / "etc/ssh").glob("ssh_host_*"):
        path.unlink()
    (root / "etc/machine-id").write_text("")
    for name in ("swarm", "network", "engine-id"):
        path = root / "var/lib/docker" / name
        shutil.rmtree(path, ignore_errors=True)
        path.unlink(missing_ok=True)
    shutil.rmtree(root / "var/log/journal", ignore_errors=True)
    (root / "var/log/journal").mkdir(parents=True, exist_ok=True)
