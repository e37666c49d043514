"""The shield of an incident: addresses that are held off, and a host shut but for SSH from some. Files and one script.

The rules are in the tables `raw` and `mangle`, where every packet passes first and last, whether it is for the host or
for a port that Docker publishes, of a new connection or of one that is open. ufw and Docker touch neither chain.

FOLDER/blocked   "address until" a line; until in Unix seconds, 0: for good
FOLDER/isolated  one address a line that may still come by SSH; there is such a file only while the host is isolated
FOLDER/ports     the ports that SSH comes in by
"""

from __future__ import annotations

import ipaddress
import os
from typing import Any, Dict, Iterable, List, Optional

from otobotctl.agent import files, trial
from otobotctl.agent.run import Run, StepError
from otobotctl.agent.shell import ask

FOLDER = "/etc/otobot/shield"
SCRIPT = "/usr/local/sbin/otobot-shield"
UNIT = "otobot-shield"
TRIAL = "shield"
_UNITS = "/etc/systemd/system"

_TEXT = r"""#!/bin/sh
# Holds addresses off and shuts this host while an incident lasts (otobotctl incident).
#   otobot-shield        puts the rules of now in force; who was held off for a time that is over comes in again
#   otobot-shield check  ends with 0 when the kernel has the rules
set -eu
cd {folder} 2>/dev/null || exit 0
exec 9> /run/otobot-shield.lock
flock --wait 60 9
now=$(date +%s)

held() {{ # the addresses of family $1 whose time is not over
  [ -e blocked ] || return 0
  while read -r address until; do
    case $address in *:*) family=6 ;; *) family=4 ;; esac
    [ $family != "$1" ] || {{ [ "$until" != 0 ] && [ "$until" -le "$now" ]; }} || echo "$address"
  done < blocked
}}

inner() {{ # $1 chain, $2 -i or -o: the host's own and Docker's wires stay open
  for wire in lo docker0 br-+ veth+; do echo "-A $1 $2 $wire -j RETURN"; done
}}

rules() {{ # family $1, in the words of iptables-restore
  printf '*raw\n:OTOBOT-IN - [0:0]\n'
  held "$1" | while read -r address; do echo "-A OTOBOT-IN -s $address -j DROP"; done
  if [ -e isolated ]; then
    inner OTOBOT-IN -i
    lasting "$1" OTOBOT-IN --sport --dport
    for port in $(cat ports); do
      friends "$1" | while read -r address; do echo "-A OTOBOT-IN -p tcp -s $address --dport $port -j RETURN"; done
    done
    echo '-A OTOBOT-IN -j DROP'
  fi
  printf 'COMMIT\n*mangle\n:OTOBOT-OUT - [0:0]\n'
  if [ -e isolated ]; then
    inner OTOBOT-OUT -o
    lasting "$1" OTOBOT-OUT --dport --sport
    for port in $(cat ports); do
      friends "$1" | while read -r address; do echo "-A OTOBOT-OUT -p tcp -d $address --sport $port -j RETURN"; done
    done
    echo '-A OTOBOT-OUT -j DROP'
  fi
  echo COMMIT
}}

friends() {{ # who may come, of family $1
  while read -r address; do
    case $address in *:*) family=6 ;; *) family=4 ;; esac
    [ $family != "$1" ] || echo "$address"
  done < isolated
}}

lasting() {{ # what keeps the host's own address: DHCP, and IPv6's neighbours and routers
  if [ "$1" = 4 ]; then
    echo "-A $2 -p udp $3 67 $4 68 -j RETURN"
  else
    echo "-A $2 -p udp $3 547 $4 546 -j RETURN"
    echo "-A $2 -p icmpv6 -j RETURN"
  fi
}}

programs() {{
  echo 4 iptables
  [ ! -e /proc/net/if_inet6 ] || echo 6 ip6tables
}}

if [ "${{1:-}}" = check ]; then
  programs | while read -r family program; do
    $program --wait -t raw -C PREROUTING -j OTOBOT-IN 2>/dev/null
    $program --wait -t mangle -C POSTROUTING -j OTOBOT-OUT 2>/dev/null
    wanted=$(rules $family | grep -c '^-A') || true
    live=$({{ $program --wait -t raw -S OTOBOT-IN; $program --wait -t mangle -S OTOBOT-OUT; }} | grep -c '^-A') || true
    [ "$wanted" = "$live" ]
  done
  exit
fi
programs | while read -r family program; do
  rules $family | $program-restore --wait --noflush
  $program --wait -t raw -C PREROUTING -j OTOBOT-IN 2>/dev/null || $program --wait -t raw -I PREROUTING -j OTOBOT-IN
  $program --wait -t mangle -C POSTROUTING -j OTOBOT-OUT 2>/dev/null ||
    $program --wait -t mangle -I POSTROUTING -j OTOBOT-OUT
done
"""
_SERVICE = """[Unit]
Description=The shield of an incident (otobotctl)
DefaultDependencies=no
After=local-fs.target
Before=network-pre.target shutdown.target
Wants=network-pre.target
Conflicts=shutdown.target

[Service]
Type=oneshot
ExecStart={script}

[Install]
WantedBy=multi-user.target
"""
_TIMER = """[Unit]
Description=Who was held off for a time that is over comes in again (otobotctl)

[Timer]
OnCalendar=minutely
AccuracySec=1s

[Install]
WantedBy=timers.target
"""


def blocked() -> Dict[str, int]:
    """The addresses that are held off, and until when (Unix seconds; 0: for good)."""
    pairs = (line.partition(" ")[::2] for line in _lines("blocked"))
    return {address: int(until) for address, until in pairs if until.isdigit()}


def isolated() -> Optional[List[str]]:
    """Who may still come by SSH; None: the host is not isolated."""
    return sorted(_lines("isolated")) if os.path.exists(_path("isolated")) else None


def state() -> Dict[str, Any]:
    """What the shield is told and whether it holds: blocked, isolated, enforced, and restored (see trial.facts)."""
    restored = trial.facts(TRIAL)["restored"]
    return {"blocked": blocked(), "isolated": isolated(), "enforced": enforced(), "restored": restored}


def enforced() -> bool:
    """Whether the kernel has the rules; True also where there never was a shield."""
    return not os.path.exists(SCRIPT) or ask([SCRIPT, "check"]).status == 0


def install(ports: Iterable[int], run: Run) -> None:
    """Put the script and its units there, for this boot and the next ones."""
    if ask(["iptables", "--version"]).status:
        raise StepError("iptables is not on this host; otobotctl host apply installs it with ufw")
    os.makedirs(FOLDER, mode=0o700, exist_ok=True)
    files.write(_path("ports"), "".join("{}\n".format(port) for port in ports).encode(), 0o600)
    files.write(SCRIPT, _TEXT.format(folder=FOLDER).encode(), 0o755)
    files.write("{}/{}.service".format(_UNITS, UNIT), _SERVICE.format(script=SCRIPT).encode(), 0o644)
    files.write("{}/{}.timer".format(_UNITS, UNIT), _TIMER.encode(), 0o644)
    run.command(["systemctl", "daemon-reload"])
    run.command(["systemctl", "enable", "--quiet", UNIT + ".service"])
    run.command(["systemctl", "enable", "--quiet", "--now", UNIT + ".timer"])


def hold_off(wanted: Dict[str, int]) -> None:
    """Say who is held off, and until when."""
    text = "".join("{} {}\n".format(address, until) for address, until in sorted(wanted.items()))
    files.write(_path("blocked"), text.encode(), 0o600)


def shut(friends: Iterable[str]) -> None:
    """Say who may still come by SSH once the host is isolated."""
    files.write(_path("isolated"), "".join(each + "\n" for each in friends).encode(), 0o600)


def open_again() -> None:
    """The host is not isolated any more."""
    files.remove(_path("isolated"))


def enforce(run: Run) -> None:
    """Put what was said in force. Raises StepError."""
    run.command([SCRIPT])


def covers(block: str, address: str) -> bool:
    """Whether an address or network holds this address."""
    found = ipaddress.ip_address(address)
    mapped = getattr(found, "ipv4_mapped", None)
    return (mapped or found) in ipaddress.ip_network(block, strict=False)


def way_back() -> str:
    """Shell that undoes an isolation; `previous` is what there was before, if there was one."""
    return "if [ -e previous ]; then cp previous {0}; else rm -f {0}; fi\n{1}".format(_path("isolated"), SCRIPT)


def place() -> str:
    """The file whose presence isolates the host."""
    return _path("isolated")


def _path(name: str) -> str:
    return os.path.join(FOLDER, name)


def _lines(name: str) -> List[str]:
    try:
        data = files.read(_path(name)) or b""
    except OSError:
        return []
    return [line.strip() for line in data.decode("ascii", "replace").splitlines() if line.strip()]
