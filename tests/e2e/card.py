"""A host with a card, but for the card: an apt repository on it whose packages behave as Ubuntu's and NVIDIA's do.

The driver is loaded at boot alone, as where another module holds the card; until then nvidia-smi fails as the real one does.
What ubuntu-drivers installed is counted in /var/log/ubuntu-drivers.
"""

from __future__ import annotations

import hashlib
import io
import shlex
import subprocess
import tarfile
from pathlib import Path

from tests.lab.host import Host

BRANCH = "580-server"
LSPCI = """#!/bin/sh
echo '00:00.0 0600: 8086:1237 (rev 02)'
echo '00:05.0 0302: 10de:27b8 (rev a1)'
"""
UBUNTU_DRIVERS = """#!/bin/sh
case "$1 $2" in
  "list --gpgpu")
    echo 'nvidia-driver-570-server, (kernel modules provided by linux-modules-nvidia-570-server-generic)'
    echo 'nvidia-driver-580-server, (kernel modules provided by linux-modules-nvidia-580-server-generic)'
    echo 'nvidia-driver-565-server, (kernel modules provided by nvidia-dkms-565-server)' ;;
  "install --gpgpu")
    echo "$3" >> /var/log/ubuntu-drivers
    apt-get install --yes --no-install-recommends linux-modules-nvidia-580-server-generic ;;
  *) exit 2 ;;
esac
"""
NVIDIA_SMI = """#!/bin/sh
if [ ! -e /run/nvidia-loaded ]; then
  echo "NVIDIA-SMI has failed because it couldn't communicate with the NVIDIA driver."
  exit 9
fi
case "$1" in
  --list-gpus) echo 'GPU 0: NVIDIA L4 (UUID: GPU-5c1e2f3a-0000-1111-2222-333344445555)' ;;
  --query-gpu=driver_version) echo 580.82.07 ;;
  --query-gpu=*) echo 'GPU-5c1e2f3a-0000-1111-2222-333344445555, NVIDIA L4, 580.82.07, P8, [N/A], 0, 41, 0, 23034, 2, 16.71, 72.00, [N/A]' ;;
esac
"""
MODULE = """[Unit]
Description=A driver that is loaded at boot
[Service]
Type=oneshot
ExecStart=/bin/touch /run/nvidia-loaded
[Install]
WantedBy=multi-user.target
"""
NVIDIA_CTK = """#!/bin/sh
[ -e /var/run/cdi/nvidia.yaml ] || exit 0
echo nvidia.com/gpu=0
echo nvidia.com/gpu=all
"""
REFRESH = """[Unit]
Description=Refresh the CDI specification
After=nvidia-module.service
[Service]
Type=oneshot
ExecStart=/bin/sh -c 'mkdir -p /var/run/cdi && cp /usr/share/cdi-stand-in.yaml /var/run/cdi/nvidia.yaml'
[Install]
WantedBy=multi-user.target
"""
CDI = """cdiVersion: 0.6.0
kind: nvidia.com/gpu
devices:
  - name: all
    containerEdits:
      mounts:
        - {hostPath: /usr/bin/nvidia-smi, containerPath: /usr/bin/nvidia-smi, options: [ro, bind]}
        - {hostPath: /run/nvidia-loaded, containerPath: /run/nvidia-loaded, options: [ro, bind]}
"""
WANTS = "/etc/systemd/system/multi-user.target.wants"

# name: version, and files by path: content and mode; a link has its target as content and the mode 0.
PACKAGES = {
    "pciutils": ("1:99", {"/usr/bin/lspci": (LSPCI, 0o755)}),
    "mokutil": ("99", {"/usr/bin/mokutil": ("#!/bin/sh\necho SecureBoot enabled\n", 0o755)}),
    "ubuntu-drivers-common": ("99", {"/usr/bin/ubuntu-drivers": (UBUNTU_DRIVERS, 0o755)}),
    "linux-modules-nvidia-580-server-generic": (
        "99",
        {
            "/lib/systemd/system/nvidia-module.service": (MODULE, 0o644),
            f"{WANTS}/nvidia-module.service": ("/lib/systemd/system/nvidia-module.service", 0),
        },
    ),
    "nvidia-utils-580-server": ("99", {"/usr/bin/nvidia-smi": (NVIDIA_SMI, 0o755)}),
    "nvidia-container-toolkit": (
        "1.20.0-1",
        {
            "/usr/bin/nvidia-ctk": (NVIDIA_CTK, 0o755),
            "/usr/share/cdi-stand-in.yaml": (CDI, 0o644),
            "/lib/systemd/system/nvidia-cdi-refresh.service": (REFRESH, 0o644),
            f"{WANTS}/nvidia-cdi-refresh.service": ("/lib/systemd/system/nvidia-cdi-refresh.service", 0),
        },
    ),
    "nvidia-container-toolkit-base": ("1.20.0-1", {}),
    "libnvidia-container-tools": ("1.20.0-1", {}),
    "libnvidia-container1": ("1.20.0-1", {}),
}
NEWER = "1.99.0-1"  # of the toolkit, which nobody has tried yet


def offer(host: Host, scratch: Path) -> None:
    """Put the repository on the host, where its apt finds it."""
    index = []
    packed = io.BytesIO()
    with tarfile.open(fileobj=packed, mode="w") as archive:
        newer = [(name, NEWER, {}) for name in PACKAGES if "nvidia-container" in name]
        for name, version, files in [*((name, *each) for name, each in PACKAGES.items()), *newer]:
            deb = _built(name, version, files, scratch)
            _add(archive, deb.name, deb.read_bytes())
            digest = hashlib.sha256(deb.read_bytes()).hexdigest()
            index.append(
                f"{_control(name, version)}Filename: ./{deb.name}\nSize: {deb.stat().st_size}\nSHA256: {digest}\n"
            )
        _add(archive, "Packages", "\n".join(index).encode())
    host.ssh("mkdir -p /srv/card && tar -xf - -C /srv/card", input=packed.getvalue(), user="root")
    line = "deb [trusted=yes] file:/srv/card ./\n"
    host.ssh("cat > /etc/apt/sources.list.d/card.list", input=line.encode(), user="root")


def _built(name: str, version: str, files: dict[str, tuple[str, int]], scratch: Path) -> Path:
    tree = scratch / f"{name}-{version.replace(':', '-')}"
    (tree / "DEBIAN").mkdir(parents=True)
    (tree / "DEBIAN/control").write_text(_control(name, version))
    for path, (content, mode) in files.items():
        file = tree / path.lstrip("/")
        file.parent.mkdir(parents=True, exist_ok=True)
        if mode:
            file.write_text(content)
            file.chmod(mode)
        else:
            file.symlink_to(content)
    built = scratch / f"{tree.name}.deb"
    command = ("dpkg-deb", "--root-owner-group", "--build", str(tree), str(built))
    subprocess.run(command, check=True, capture_output=True, timeout=120)
    return built


def _control(name: str, version: str) -> str:
    fields = {"Package": name, "Version": version, "Architecture": "all", "Maintainer": "lab <lab@lab.example>"}
    return "".join(f"{key}: {value}\n" for key, value in {**fields, "Description": "a stand-in"}.items())


def _add(archive: tarfile.TarFile, name: str, content: bytes) -> None:
    member = tarfile.TarInfo(name)
    member.size = len(content)
    archive.addfile(member, io.BytesIO(content))


def installed(host: Host) -> list[str]:
    """What ubuntu-drivers was asked to install, each time."""
    return host.ssh(shlex.join(("cat", "/var/log/ubuntu-drivers")), user="root").stdout.split()
