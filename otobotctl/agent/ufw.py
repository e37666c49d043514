"""What ufw has been told, read from its own files: its command prints for people, and nothing while it is off."""

from __future__ import annotations

import re
from typing import Dict, List, NamedTuple, Optional

ANY = "any"
OWNER = "otobot"  # the comment on the rules that are ours to remove
RULES = {4: "/etc/ufw/user.rules", 6: "/etc/ufw/user6.rules"}
DEFAULTS = "/etc/default/ufw"
CONFIG = "/etc/ufw/ufw.conf"


class Rule(NamedTuple):
    """One incoming rule of one family. `port` as ufw writes it: "80", "80,443", "8000:8010" or "any"."""

    action: str
    proto: str
    port: str
    source: str
    interface: str
    owned: bool

    @property
    def key(self) -> str:
        """How the plan names what it wants: "80/tcp from any"."""
        return rule_key(self.port, self.proto, self.source)

    @property
    def plain(self) -> bool:
        """It lets in, whatever the interface."""
        return self.action in ("allow", "limit") and not self.interface

    def refuses(self, port: int) -> bool:
        """It turns away a TCP connection from anywhere to `port`."""
        turned_away = self.action in ("deny", "reject") and self.source == ANY and self.proto in ("tcp", ANY)
        return turned_away and _includes(self.port, port)


def rule_key(port: object, proto: str, source: str) -> str:
    """The name of one rule, the same on both sides of the wire."""
    return "{}/{} from {}".format(port, proto, source)


def parse_rules(text: str) -> List[Rule]:
    """The `### tuple ###` lines of user.rules or user6.rules, incoming ones, in their order."""
    rules = []
    for line in text.splitlines():
        if not line.startswith("### tuple ### "):
            continue
        words = line[len("### tuple ### ") :].split()
        comment = ""
        if words[-1].startswith("comment="):
            comment = bytes.fromhex(words.pop()[len("comment=") :]).decode("utf-8", "replace")
        direction, _, interface = words[-1].partition("_")
        if direction != "in" or words[0].startswith("route:"):
            continue
        action = words[0].partition("_")[0]  # allow_log, allow_log-all
        narrowed = interface or ("" if _is_any(words[3]) and words[4] == ANY else words[3])
        rules.append(Rule(action, words[1], words[2], _source(words[5]), narrowed, comment == OWNER))
    return rules


def parse_settings(text: str) -> Dict[str, str]:
    """NAME=value lines of a shell file, unquoted, lower case."""
    pairs = re.findall(r'^\s*(\w+)="?([^"\n#]*)"?', text, re.MULTILINE)
    return {name: value.strip().lower() for name, value in pairs}


def chain_length(text: str, chain: str) -> int:
    """How many rules a rules file or `iptables -S` appends to `chain`."""
    return sum(line.startswith("-A {} ".format(chain)) for line in text.splitlines())


def read(path: str) -> Optional[str]:
    """The text of one of ufw's files; None where it is not there."""
    try:
        with open(path, encoding="utf-8", errors="replace") as stream:
            return stream.read()
    except OSError:
        return None


def _source(text: str) -> str:
    if _is_any(text):
        return ANY
    import ipaddress  # few rules name an address

    network = ipaddress.ip_network(text, strict=False)
    return str(network.network_address) if network.num_addresses == 1 else str(network)


def _is_any(text: str) -> bool:
    return text in ("0.0.0.0/0", "::/0", ANY)


def _includes(spec: str, port: int) -> bool:
    if spec == ANY:
        return True
    bounds = (part.partition(":")[::2] for part in spec.split(","))
    return any(int(low) <= port <= int(high or low) for low, high in bounds)
