"""The one job that every tool does: about thirty resources of an ordinary application server. Data only."""

from __future__ import annotations

import hashlib
from dataclasses import dataclass

ROOT = "/opt/otobot-bench"
GROUP = "otobot-bench"
USER = "otobot-bencher"
UNIT = "otobot-bench.service"
UNIT_PATH = f"/etc/systemd/system/{UNIT}"
LINK = f"{ROOT}/current"
LINK_TARGET = f"{ROOT}/conf"
LINE_PATH = "/etc/environment"
LINE = "OTOBOT_BENCH=1"
DIRECTORIES = (ROOT, f"{ROOT}/conf", f"{ROOT}/data")
# Programs that every Debian has, and packages that are there already: nothing is downloaded, only looked at.
FACTS = (
    ("uname", "-r"),
    ("nproc",),
    ("df", "-P", "/"),
    ("id", "-u"),
    ("getconf", "PAGESIZE"),
    ("date", "+%s"),
)
PACKAGES = ("bash", "coreutils", "grep", "sed", "tar")


@dataclass(frozen=True)
class File:
    """One file; `mode` as four octal digits."""

    path: str
    content: str
    mode: str = "0644"


def _lines(name: str, count: int) -> str:
    return "".join(f"{name}_{i}={hashlib.sha256(f'{name}{i}'.encode()).hexdigest()}\n" for i in range(count))


FILES = (
    *(File(f"{ROOT}/conf/part-{number:02}.conf", _lines(f"PART{number}", 30)) for number in range(11)),
    File(f"{ROOT}/conf/secret.env", _lines("SECRET", 8), "0600"),
    File(
        UNIT_PATH,
        "[Service]\nType=oneshot\nRemainAfterExit=yes\nExecStart=/bin/true\n[Install]\nWantedBy=multi-user.target\n",
    ),
)
# Facts, packages, group, user, directories, files, symlink, line, unit.
COUNT = len(FACTS) + len(PACKAGES) + 2 + len(DIRECTORIES) + len(FILES) + 3

UNDO = f"""
systemctl disable --now {UNIT} >/dev/null 2>&1
rm -f {UNIT_PATH}; systemctl daemon-reload
rm -rf {ROOT} /var/lib/otobot /run/otobot /root/.ansible
sed -i '/^{LINE}$/d' {LINE_PATH}
id -u {USER} >/dev/null 2>&1 && userdel {USER}
getent group {GROUP} >/dev/null && groupdel {GROUP}
true
"""
CHECK = f"""
set -e
sha256sum {" ".join(sorted(file.path for file in FILES))}
test "$(stat -c %a:%U {ROOT}/conf/secret.env)" = 600:root
test "$(readlink {LINK})" = {LINK_TARGET}
id -Gn {USER} | grep -qw {GROUP}
test "$(grep -cx {LINE} {LINE_PATH})" = 1
systemctl is-active --quiet {UNIT}
systemctl is-enabled --quiet {UNIT}
"""
