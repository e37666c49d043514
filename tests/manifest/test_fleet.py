"""A fleet on disk."""

import json
import shutil
import stat
import subprocess

import pytest

from otobotctl import data, fleet, manifest
from otobotctl.errors import ManifestError, OtobotError, UsageError


def keygen(path, kind, passphrase=""):
    """Make a key pair; what it gives is real."""
    path.parent.mkdir(parents=True, exist_ok=True)
    bits = ("-b", "2048") if kind == "rsa" else ()
    command = ("ssh-keygen", "-q", "-t", kind, *bits, "-N", passphrase, "-C", f"{kind}@test", "-f", path)
    subprocess.run(command, check=True, stdin=subprocess.DEVNULL)
    return path.with_name(f"{path.name}.pub").read_text().strip()


needs_keygen = pytest.mark.skipif(not shutil.which("ssh-keygen"), reason="ssh-keygen is not installed")


def test_the_nearest_manifest_upwards_is_the_fleet(tmp_path):
    """Commands work from anywhere inside a fleet."""
    (tmp_path / fleet.MANIFEST).write_text("{}")
    deep = tmp_path / "clients" / "acme"
    deep.mkdir(parents=True)
    found = fleet.find(None, {}, deep)
    assert found.root == tmp_path.resolve()
    assert found.client("acme") == deep.resolve()


def test_a_named_fleet_wins(tmp_path):
    """--fleet wins over OTOBOTCTL_FLEET, and that over the working directory."""
    for name in ("a", "b", "c"):
        (tmp_path / name).mkdir()
        (tmp_path / name / fleet.MANIFEST).write_text("{}")
    environ = {"OTOBOTCTL_FLEET": str(tmp_path / "b")}
    assert fleet.find(tmp_path / "a", environ, tmp_path / "c").root.name == "a"
    assert fleet.find(None, environ, tmp_path / "c").root.name == "b"
    assert fleet.find(None, {}, tmp_path / "c").root.name == "c"
    assert fleet.find(tmp_path / "a" / fleet.MANIFEST, {}, tmp_path).root.name == "a"


def test_no_fleet_says_how_to_make_one(tmp_path):
    """The hint is the command to give next."""
    with pytest.raises(UsageError) as caught:
        fleet.find(None, {}, tmp_path)
    assert "otobotctl init DIR" in caught.value.hint
    with pytest.raises(UsageError) as caught:
        fleet.find(tmp_path, {}, tmp_path)
    assert caught.value.hint == f"otobotctl init {tmp_path}"
    with pytest.raises(UsageError, match="OTOBOTCTL_FLEET"):
        fleet.find(None, {"OTOBOTCTL_FLEET": str(tmp_path / "none")}, tmp_path)


@needs_keygen
def test_a_new_fleet_takes_the_operators_ssh_keys(tmp_path):
    """ed25519 and rsa keys become recipients, kinds that age cannot use do not, and nothing is minted."""
    ssh = tmp_path / "home" / ".ssh"
    ed25519, rsa = keygen(ssh / "id_ed25519", "ed25519"), keygen(ssh / "id_rsa", "rsa")
    keygen(ssh / "id_ecdsa", "ecdsa")
    (ssh / "note.pub").write_text("not a key")
    made = fleet.init_fleet(tmp_path / "f", tmp_path / "home", schema="{}\n")
    assert made.recipients == (ed25519, rsa)
    assert made.identity is None
    found = fleet.find(tmp_path / "f", {}, tmp_path)
    loaded = manifest.load(found.manifest)
    assert loaded.recipients == (ed25519, rsa)
    assert loaded.schema == "./clients-config.schema.json"
    assert found.schema.is_file()
    assert "*.key" in found.gitignore.read_text()
    assert made.made == tuple(str(path) for path in (found.manifest, found.gitignore, found.schema))


def test_without_keys_an_identity_is_minted_for_its_owner_alone(tmp_path):
    """The private key is 0600 in a 0700 directory, outside of the fleet, and is told of."""
    home = tmp_path / "home"
    made = fleet.init_fleet(tmp_path / "f", home)
    identity = home / ".config" / "otobotctl" / "identity.txt"
    assert made.identity == str(identity)
    assert stat.S_IMODE(identity.stat().st_mode) == 0o600
    assert stat.S_IMODE(identity.parent.stat().st_mode) == 0o700
    assert made.recipients[0].startswith("age1")
    assert "AGE-SECRET-KEY" not in "".join(path.read_text() for path in (tmp_path / "f").iterdir())
    again = fleet.init_fleet(tmp_path / "g", home)
    assert (again.identity, again.recipients) == (None, made.recipients)


@needs_keygen
def test_an_identity_is_minted_when_the_ssh_key_has_a_passphrase(tmp_path):
    """Otherwise the operator could seal secrets and not open them."""
    keygen(tmp_path / "home" / ".ssh" / "id_ed25519", "ed25519", "a passphrase")
    made = fleet.init_fleet(tmp_path / "f", tmp_path / "home")
    assert [recipient.split()[0][:4] for recipient in made.recipients] == ["ssh-", "age1"]
    assert made.identity


def test_init_never_overwrites(tmp_path):
    """A second init changes no byte and mints nothing."""
    first = fleet.init_fleet(tmp_path, tmp_path / "home")
    (tmp_path / ".gitignore").write_text("mine\n")
    document = json.loads((tmp_path / fleet.MANIFEST).read_text())
    (tmp_path / fleet.MANIFEST).write_text(json.dumps({**document, "company": "Mine"}))
    before = {path.name: path.read_bytes() for path in tmp_path.iterdir() if path.is_file()}
    made = fleet.init_fleet(tmp_path, tmp_path / "other")
    assert made.made == ()
    assert made.recipients == first.recipients
    assert {path.name: path.read_bytes() for path in tmp_path.iterdir() if path.is_file()} == before
    assert not (tmp_path / "other").exists()


def test_an_identity_file_that_holds_no_key_is_not_shown(tmp_path):
    """A damaged private key is an error without its text."""
    identity = tmp_path / "home" / ".config" / "otobotctl" / "identity.txt"
    identity.parent.mkdir(parents=True)
    identity.write_text("AGE-SECRET-KEY-1DAMAGED\n")
    with pytest.raises(ManifestError) as caught:
        fleet.init_fleet(tmp_path / "f", tmp_path / "home")
    assert "DAMAGED" not in f"{caught.value} {caught.value.hint} {caught.value.__cause__}"


def test_a_directory_that_cannot_be_made_is_an_error_of_the_operators_kind(tmp_path):
    """No traceback for a file in the way."""
    (tmp_path / "file").write_text("")
    with pytest.raises(ManifestError, match="cannot make a fleet"):
        fleet.init_fleet(tmp_path / "file" / "f", tmp_path / "home")


def test_templates_are_found_and_an_installation_without_them_is_said():
    """The checkout's own directories are found; a missing one is no silent empty."""
    assert data.data_dir("templates").is_dir()
    with pytest.raises(OtobotError, match="without its nothing"):
        data.data_dir("nothing")
