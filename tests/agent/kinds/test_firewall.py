"""What ufw, sshd and ss said on a Debian 13 host, and what is read out of it."""

import os

import pytest

from otobotctl.agent import sshd, ufw
from otobotctl.agent.kinds import firewall
from otobotctl.agent.run import StepError

RULES_4 = """*filter
:ufw-user-input - [0:0]
### RULES ###

### tuple ### allow tcp 22 0.0.0.0/0 any 0.0.0.0/0 in comment=6f746f626f74
-A ufw-user-input -p tcp --dport 22 -j ACCEPT

### tuple ### allow tcp 5432 0.0.0.0/0 any 10.1.2.3 in comment=6f746f626f74
-A ufw-user-input -p tcp --dport 5432 -s 10.1.2.3 -j ACCEPT

### tuple ### limit tcp 2222 0.0.0.0/0 any 0.0.0.0/0 in
-A ufw-user-input -p tcp --dport 2222 -m conntrack --ctstate NEW -m recent --set
-A ufw-user-input -p tcp --dport 2222 -m conntrack --ctstate NEW -m recent --update --seconds 30 --hitcount 6 -j ufw-user-limit
-A ufw-user-input -p tcp --dport 2222 -j ufw-user-limit-accept

### tuple ### allow tcp 22 0.0.0.0/0 any 0.0.0.0/0 OpenSSH - in
### tuple ### deny any any 0.0.0.0/0 any 203.0.113.9 in
### tuple ### allow_log tcp 8000:8010,9000 0.0.0.0/0 any 0.0.0.0/0 in comment=6d696e65
### tuple ### allow any 99 0.0.0.0/0 any 0.0.0.0/0 in_eth0
### tuple ### allow any 53 10.0.0.1 any 0.0.0.0/0 in
### tuple ### allow tcp 25 0.0.0.0/0 any 0.0.0.0/0 out
### tuple ### route:allow tcp 80 0.0.0.0/0 any 0.0.0.0/0 in
### END RULES ###
-A ufw-user-limit -j REJECT
"""
RULES_6 = """### tuple ### allow tcp 22 ::/0 any ::/0 in comment=6f746f626f74
### tuple ### allow udp 51820 ::/0 any 2001:db8::/32 in comment=6f746f626f74
"""


def test_rules_are_read_from_ufws_own_file():
    """Action, protocol, port, source and owner of each incoming rule; outgoing and routed ones are not looked at."""
    rules = ufw.parse_rules(RULES_4)
    assert [(rule.key, rule.action, rule.owned, rule.plain) for rule in rules] == [
        ("22/tcp from any", "allow", True, True),
        ("5432/tcp from 10.1.2.3", "allow", True, True),
        ("2222/tcp from any", "limit", False, True),
        ("22/tcp from any", "allow", False, True),
        ("any/any from 203.0.113.9", "deny", False, False),
        ("8000:8010,9000/tcp from any", "allow", False, True),
        ("99/any from any", "allow", False, False),  # one interface only
        ("53/any from any", "allow", False, False),  # one address of the host only
    ]


def test_from_anywhere_means_both_families():
    """A rule that only one family has does not let everybody in; one that names an address needs one family."""
    allowed = firewall.allowed_keys({4: ufw.parse_rules(RULES_4), 6: ufw.parse_rules(RULES_6)})
    assert allowed == {"22/tcp from any", "5432/tcp from 10.1.2.3", "51820/udp from 2001:db8::/32"}


def test_the_kernels_rules_are_counted_like_the_files():
    """Only what goes into the chain counts."""
    assert ufw.chain_length(RULES_4, "ufw-user-input") == 5


@pytest.mark.parametrize(
    ("line", "shuts"),
    [
        ("deny tcp 22 0.0.0.0/0 any 0.0.0.0/0 in", True),
        ("reject any any 0.0.0.0/0 any 0.0.0.0/0 in_eth0", True),
        ("deny tcp 20:30,80 0.0.0.0/0 any 0.0.0.0/0 in", True),
        ("deny udp 22 0.0.0.0/0 any 0.0.0.0/0 in", False),
        ("deny tcp 23:30,80 0.0.0.0/0 any 0.0.0.0/0 in", False),
        ("deny any any 0.0.0.0/0 any 203.0.113.9 in", False),
        ("allow tcp 22 0.0.0.0/0 any 0.0.0.0/0 in", False),
    ],
)
def test_a_rule_that_would_lock_ssh_out_is_seen(line, shuts, tmp_path, monkeypatch):
    """A denial of SSH's port from everywhere stops the step; a ban of one address does not."""
    (tmp_path / "rules").write_text(f"### tuple ### {line}\n")
    monkeypatch.setattr(ufw, "RULES", {4: str(tmp_path / "rules")})
    if shuts:
        with pytest.raises(StepError, match="lock SSH out on port 22"):
            firewall._refuse_a_locked_door([22])
    else:
        firewall._refuse_a_locked_door([22])


def test_settings_are_read_unquoted():
    """The files are shell."""
    text = '# comment\nIPV6=yes\nDEFAULT_INPUT_POLICY="DROP"\nENABLED=no # not yet\n'
    assert ufw.parse_settings(text) == {"IPV6": "yes", "DEFAULT_INPUT_POLICY": "drop", "ENABLED": "no"}


def test_a_rule_is_told_to_ufw_as_it_was_named():
    """Name and words go both ways."""
    words = firewall.rule_words("5432/tcp from 10.0.0.0/8")
    assert words == ["allow", "proto", "tcp", "from", "10.0.0.0/8", "to", "any", "port", "5432"]


def test_every_port_of_ssh_is_found():
    """Configured ones, listening and open sockets of sshd under any of its names, and sockets systemd holds for it."""
    assert sshd.configured_ports(
        "port 22\nport 2200\nlistenaddress [::]:22\nlistenaddress 10.0.0.1:2222\nx11forwarding yes\n"
    ) == {22, 2200, 2222}
    sockets = (
        'LISTEN 0 4096 127.0.0.1:43321 0.0.0.0:* users:(("containerd",pid=83,fd=10))\n'
        'LISTEN 0 128  0.0.0.0:2022 0.0.0.0:* users:(("sshd",pid=88,fd=6))\n'
        "LISTEN 0 128  0.0.0.0:25 0.0.0.0:*\n"
        'ESTAB  0 0  10.207.0.10:2023 10.207.255.1:48024 users:(("sshd-session",pid=145,fd=7),("sshd-session",pid=137,fd=7))\n'
        'ESTAB  0 0  10.207.0.10:50000 10.9.9.9:22 users:(("ssh",pid=9,fd=3))\n'
        'LISTEN 0 128  [::]:2024 [::]:* users:(("sshd",pid=88,fd=7))\n'
    )
    assert sshd.socket_ports(sockets) == {2022, 2023, 2024}
    shown = "Listen=0.0.0.0:22 (Stream)\nListen=[::]:2222 (Stream)\nListen=/run/x (Stream)\nActiveState={}\n"
    assert sshd.activated_ports(shown.format("active")) == {22, 2222}
    assert sshd.activated_ports(shown.format("inactive") + "\nListen=[::]:2223 (Stream)\nActiveState=active\n") == {
        2223
    }


def test_the_port_of_this_very_session_is_found(monkeypatch):
    """Even when sshd cannot be asked: SSH_CONNECTION is looked for here and in every ancestor, whom sudo did not strip."""
    parents = {os.getpid(): 70, 70: 60, 60: 1}
    environments = {60: {"SSH_CONNECTION": "192.0.2.7 51000 192.0.2.1 2299"}}
    monkeypatch.setattr(sshd, "_parent", lambda pid: parents[pid])
    monkeypatch.setattr(sshd, "_environment", lambda pid: environments.get(pid, {}))
    assert sshd._session_ports() == {2299}
