"""Who may log in to which host as themselves."""

import base64

import pytest

from otobotctl import manifest
from otobotctl.errors import ManifestError
from otobotctl.manifest import words
from tests.manifest.sample import SERVICES, encoded, right


def key(kind="ssh-ed25519", comment="marie@x"):
    """A public key that is whole, though nobody has the other half."""
    raw = len(kind).to_bytes(4, "big") + kind.encode() + bytes(36)
    return f"{kind} {base64.b64encode(raw).decode()} {comment}"


def fleet(**operators):
    """The sample with these operators, resolved."""
    document = right()
    document["operators"] = operators
    return manifest.resolve(manifest.decode(encoded(document), "x", SERVICES))


def findings(**operators):
    """What is wrong with these operators."""
    with pytest.raises(ManifestError) as error:
        fleet(**operators)
    return error.value.details


def test_an_operator_is_on_every_host_or_on_those_named_or_tagged():
    """Without a word on every host; with words on the hosts that one of them means."""
    found = fleet(
        marie={"keys": [f" {key()} "]},
        paul={"keys": [key()], "hosts": ["gate"], "sudo": False},
        lea={"keys": [key()], "tags": ["eu"]},
        nina={"keys": [key()], "tags": ["eu"], "hosts": ["gate"]},
        nobody={"keys": [key()], "hosts": []},
    )
    on = {host: [operator.name for operator in found.operators_of(host)] for host in ("gate", "vps-1")}
    assert on == {"gate": ["marie", "paul", "nina"], "vps-1": ["marie", "lea", "nina"]}
    assert found.operators["marie"].keys == (key(),)
    assert (found.operators["marie"].sudo, found.operators["paul"].sudo) == (True, False)
    assert right().get("operators") is None


def test_what_is_wrong_is_told_where_it_is():
    """Names, keys, hosts and tags, each with a remedy."""
    assert "root is nobody's own account" in findings(root={"keys": [key()]})[0]
    assert "operators.Marie" in findings(Marie={"keys": [key()]})[0]
    assert "operators.marie.keys[0]: is not a public SSH key" in findings(marie={"keys": ["AAAA"]})[0]
    assert "is not a whole ssh-rsa key" in findings(marie={"keys": ["ssh-rsa AAAA"]})[0]
    assert 'there is no host "gat"' in findings(marie={"keys": [key()], "hosts": ["gat"]})[0]
    assert 'no host has the tag "eut"' in findings(marie={"keys": [key()], "tags": ["eut"]})[0]
    assert "operators.marie.keys" in findings(marie={"keys": []})[0]
    assert "operators.marie.keys" in findings(marie={})[0]


def test_a_private_key_is_not_repeated():
    """It is told as what it is, without a letter of it."""
    [finding] = findings(marie={"keys": ["-----BEGIN OPENSSH PRIVATE KEY----- c2VjcmV0"]})
    assert "this is a private key" in finding
    assert "c2VjcmV0" not in finding


@pytest.mark.parametrize("kind", ["ssh-ed25519", "ssh-rsa", "ecdsa-sha2-nistp256", "sk-ssh-ed25519@openssh.com"])
def test_keys_that_log_in(kind):
    """Hardware keys too, which cannot open secrets but can log in; options and DSA cannot."""
    assert words.login_key(key(kind)) is None
    assert words.login_key(f'from="*" {key(kind)}')
    assert words.login_key(key("ssh-dss"))
    assert words.login_key(f"{key(kind)}\nssh-rsa B")


def test_who_has_a_role_has_no_sudo():
    """The role decides; both words at once are refused, each in its place."""
    found = fleet(paul={"keys": [key()], "role": "reader"})
    assert (found.operators["paul"].role, found.operators["paul"].sudo) == ("reader", False)
    said = findings(paul={"keys": [key()], "role": "reader", "sudo": True})
    assert "operators.paul.role: and sudo exclude each other" in said[0]


def test_a_role_of_the_manifest_is_in_form():
    """A command begins with a program; placeholders are words of their own; paths go from the root on."""
    document = right()
    document["roles"] = {
        "logs": {
            "host": ["tail -n {number} {path}", "{path}", "x --{name}", "x {what}", ""],
            "paths": ["/a", "b", "/a/../b"],
        }
    }
    with pytest.raises(ManifestError) as error:
        manifest.decode(encoded(document), "x", SERVICES)
    places = [line.partition(": ")[0] for line in error.value.details]
    assert places == [*(f"roles.logs.host[{at}]" for at in (1, 2, 3, 4)), *(f"roles.logs.paths[{at}]" for at in (1, 2))]
