"""Where keys are looked for."""

import pytest

from otobotctl.errors import UsageError
from otobotctl.manifest.words import same_key
from otobotctl.secrets import identities
from otobotctl.secrets.keys import load, shown


def test_identities_are_the_operators_unless_one_is_named(tmp_path):
    """OTOBOTCTL_IDENTITY stands alone; else the age identity is tried first, then the SSH keys."""
    assert identities({}, tmp_path) == ()
    places = [".config/otobotctl/identity.txt", ".ssh/id_ed25519", ".ssh/id_rsa"]
    for place in places:
        (tmp_path / place).parent.mkdir(parents=True, exist_ok=True)
        (tmp_path / place).write_text("")
    assert identities({}, tmp_path) == tuple(tmp_path / place for place in places)
    named = tmp_path / "ci.key"
    named.write_text("")
    assert identities({"OTOBOTCTL_IDENTITY": str(named)}, tmp_path) == (named,)
    with pytest.raises(UsageError, match="OTOBOTCTL_IDENTITY"):
        identities({"OTOBOTCTL_IDENTITY": str(tmp_path / "none")}, tmp_path)


def test_a_file_without_a_key_is_said_so_without_its_text(tmp_path, keys):
    """Each file that cannot be used has a reason; none of its bytes is in it."""
    texts = {"empty": "# only a comment\n", "damaged": "AGE-SECRET-KEY-1HUNTER2\n", "sealed": "age-encryption.org/v1\n"}
    for name, text in texts.items():
        (tmp_path / name).write_text(text)
    usable, notes = load([*(tmp_path / name for name in texts), keys["ed25519"].path, keys["age"].path])
    assert len(usable) == 2
    assert len(notes) == 3
    assert "HUNTER2" not in "".join(notes)
    assert "passphrase" in notes[2]


def test_an_old_pem_key_with_a_passphrase_is_known_for_one(tmp_path):
    """The older form of private keys says in a header that it is encrypted."""
    (tmp_path / "pem").write_text(
        "-----BEGIN RSA PRIVATE KEY-----\nProc-Type: 4,ENCRYPTED\n\nAAAA\n-----END RSA PRIVATE KEY-----\n"
    )
    assert "passphrase" in load([tmp_path / "pem"])[1][0]


def test_recipients_are_shown_by_their_comment():
    """A key without a comment is shown by its kind or its first characters."""
    assert shown("ssh-ed25519 AAAA it ops@x") == "it ops@x"
    assert shown("ssh-ed25519 AAAA") == "ssh-ed25519"
    assert shown("age1" + "q" * 58) == "age1" + "q" * 20 + "..."
    assert same_key("ssh-rsa AAAA a") == same_key("ssh-rsa AAAA b")
