"""The sealed store on disk."""

import multiprocessing
import shutil
import stat
import subprocess
import threading
import traceback
from concurrent.futures import ThreadPoolExecutor, wait
from pathlib import Path

import pytest
import yaml

from otobotctl import atomic, secrets
from otobotctl.errors import ManifestError
from otobotctl.secrets import files, set_given
from tests.secrets.sample import GIVEN, NOW, full, revealed


def saved(tmp_path, keys, *names):
    directory = tmp_path / "clients" / "acme"
    secrets.save(directory, full(), [keys[name].recipient for name in names or ("ed25519",)])
    return directory


@pytest.mark.parametrize("kind", ["ed25519", "rsa", "age"])
def test_each_recipient_opens_what_is_sealed_for_all(tmp_path, keys, kind):
    """Whoever is a recipient gets every value and its metadata back."""
    directory = saved(tmp_path, keys, "ed25519", "rsa", "age")
    store = secrets.open_store(directory, [keys[kind].path])
    assert revealed(store) == revealed(full())
    assert store.metadata == full().metadata


@pytest.mark.parametrize("kind", ["ed25519", "rsa", "age"])
def test_the_stock_age_tool_prints_every_value(tmp_path, keys, kind):
    """Recovery needs no otobotctl: Debian's `age -d -i KEY` gives values and metadata, as YAML."""
    if not shutil.which("age"):
        pytest.skip("age is not installed")
    sealed = saved(tmp_path, keys, "ed25519", "rsa", "age") / "secrets.age"
    done = subprocess.run(["age", "-d", "-i", keys[kind].path, sealed], capture_output=True, text=True, check=True)
    printed = yaml.safe_load(done.stdout)["secrets"]
    assert {name: fields["value"] for name, fields in printed.items()} == revealed(full())
    assert printed["TOKEN"]["rotate_days"] == 90
    assert printed["TOKEN"]["created"] == "2026-01-02T03:04:05Z"


def test_nothing_is_readable_on_disk(tmp_path, keys):
    """No file holds a value, and the sealed one is its owner's alone."""
    directory = saved(tmp_path, keys)
    written = b"".join(path.read_bytes() for path in directory.iterdir())
    assert not any(value.encode() in written for value in revealed(full()).values())
    assert stat.S_IMODE((directory / "secrets.age").stat().st_mode) == 0o600
    assert sorted(path.name for path in directory.iterdir()) == ["secrets.age", "secrets.yaml"]


def test_who_reads_while_another_saves_needs_no_key(tmp_path, keys, monkeypatch):
    """Between the sealed file and its summary the two do not fit: a reader without a key waits for the writer."""
    directory = saved(tmp_path, keys)
    written, between, go = atomic.write, threading.Event(), threading.Event()

    def write(path, data, mode=0o644):
        if path.name == files.SUMMARY:
            between.set()
            assert go.wait(60)
        written(path, data, mode)

    monkeypatch.setattr(files.atomic, "write", write)
    changed = set_given(full(), GIVEN, "another", NOW)
    with ThreadPoolExecutor(2) as pool:
        saving = pool.submit(secrets.save, directory, changed, [keys["ed25519"].recipient])
        assert between.wait(60)
        reading = pool.submit(secrets.read_metadata, directory, [])
        wait([reading], timeout=0.5)
        go.set()
        saving.result()
        assert {known.name: known for known in reading.result()} == dict(changed.metadata)


def test_a_store_that_is_saved_first_is_not_lost(tmp_path, keys, monkeypatch):
    """Who looked for the sealed file just before it was there takes the summary that came with it for no loss."""
    directory, real, looked = tmp_path / "clients" / "acme", Path.read_bytes, []

    def read_bytes(path):
        try:
            return real(path)
        except FileNotFoundError:
            if path.name == files.SEALED and not looked:
                looked.append(path)
                saved(tmp_path, keys)
            raise

    monkeypatch.setattr(Path, "read_bytes", read_bytes)
    assert secrets.read_metadata(directory, []) == ()
    assert len(secrets.read_metadata(directory, [])) == len(full().values)


def test_metadata_is_read_without_a_key(tmp_path, keys):
    """Reviews and CI see what exists, who can open it, and no value."""
    directory = saved(tmp_path, keys)
    known = {entry.name: entry for entry in secrets.read_metadata(directory, [])}
    assert known == dict(full().metadata)
    summary = yaml.safe_load((directory / "secrets.yaml").read_text())
    assert summary["recipients"] == [keys["ed25519"].recipient]
    assert list(summary["secrets"]) == sorted(known)
    assert secrets.read_metadata(tmp_path / "none", []) == ()


@pytest.mark.parametrize(
    "damage", [None, b"", b"\x00: [", b"version: 1\n", b"secrets: 3\n", b"sealed: x\nrecipients: []\nsecrets: {}\n"]
)
def test_a_summary_that_does_not_fit_is_written_again(tmp_path, keys, damage):
    """The sealed file is the truth: opening it repairs what stands beside it."""
    directory = saved(tmp_path, keys)
    right = (directory / "secrets.yaml").read_bytes()
    if damage is None:
        (directory / "secrets.yaml").unlink()
    else:
        (directory / "secrets.yaml").write_bytes(damage)
    with pytest.raises(ManifestError):
        secrets.read_metadata(directory, [])
    assert {entry.name for entry in secrets.read_metadata(directory, [keys["ed25519"].path])} == set(full().values)
    assert (directory / "secrets.yaml").read_bytes() == right
    assert secrets.read_metadata(directory, [])


def test_a_summary_is_repaired_by_whoever_holds_the_lock_too(tmp_path, keys):
    """Opening under the lock does not wait for itself."""
    directory = saved(tmp_path, keys)
    (directory / "secrets.yaml").unlink()
    with secrets.locked(directory):
        secrets.open_store(directory, [keys["ed25519"].path])
    assert (directory / "secrets.yaml").exists()


def test_without_files_there_is_an_empty_store(tmp_path):
    """A new client starts with nothing, and looking makes nothing."""
    assert not secrets.open_store(tmp_path / "new", []).values
    assert not (tmp_path / "new").exists()


def test_a_lost_sealed_file_is_never_minted_again(tmp_path, keys):
    """New values would lock the client out of its own data."""
    directory = saved(tmp_path, keys)
    (directory / "secrets.age").unlink()
    with pytest.raises(ManifestError, match="is lost") as caught:
        secrets.open_store(directory, [keys["ed25519"].path])
    assert "git restore" in caught.value.hint


@pytest.mark.parametrize("damage", [b"<<<<<<< HEAD\n", b"", b"-----BEGIN AGE ENCRYPTED FILE-----\nAAAA\n"])
def test_a_damaged_sealed_file_is_said_to_be(tmp_path, keys, damage):
    """A merge conflict or a cut file is no traceback."""
    directory = saved(tmp_path, keys)
    (directory / "secrets.age").write_bytes(damage)
    with pytest.raises(ManifestError) as caught:
        secrets.open_store(directory, [keys["ed25519"].path])
    assert "damaged" in " ".join((caught.value.message, *caught.value.details))


def test_no_key_that_opens_says_who_has_one(tmp_path, keys):
    """Each key that was tried has its reason, and the recipients are named by their comments."""
    directory = saved(tmp_path, keys, "rsa", "age")
    tried = [keys[name].path for name in ("ed25519", "protected", "ecdsa")] + [tmp_path / "none"]
    with pytest.raises(ManifestError) as caught:
        secrets.open_store(directory, tried)
    said = "\n".join(caught.value.details)
    assert "protected has a passphrase" in said
    assert "ecdsa is of a kind that age cannot use" in said
    assert "none cannot be read" in said
    assert "rsa@test" in said
    assert f"{keys['age'].recipient[:24]}..." in said
    assert "age -d -i KEY" in said
    with pytest.raises(ManifestError, match="no key here"):
        secrets.open_store(directory, [])


def test_no_value_is_in_an_error(tmp_path, keys, monkeypatch):
    """Even when the sealed text is not what it should be, its traceback does not hold it."""
    monkeypatch.setattr("otobotctl.secrets.store.SecretStore.reveal_all", lambda self: {"secrets": "hunter2-hunter2"})
    directory = saved(tmp_path, keys)
    monkeypatch.undo()
    with pytest.raises(ManifestError, match="not what otobotctl seals") as caught:
        files._unseal(directory, (directory / "secrets.age").read_bytes(), [keys["ed25519"].path])
    assert "hunter2" not in "".join(traceback.format_exception(caught.value))


@pytest.mark.parametrize(
    ("recipients", "said"),
    [
        ([], "no recipients"),
        (["ecdsa-sha2-nistp256 AAAA me@x"], "recipients[0]: ecdsa-sha2-nistp256"),
        (["sk-ssh-ed25519@openssh.com AAAA me@x"], "recipients[0]: age cannot use sk-ssh-ed25519@openssh.com"),
        (["AGE-SECRET-KEY-1QQQQ"], "recipients[0]: this is a private key"),
        (["age1" + "q" * 58], "recipients[0]: age1qqqqqqqqqqqqqqqqqqqq... is not a whole key"),
    ],
)
def test_what_age_cannot_seal_for_is_named_and_nothing_is_written(tmp_path, recipients, said):
    """The message names the recipient and its kind, never a private key."""
    with pytest.raises(ManifestError) as caught:
        secrets.save(tmp_path, full(), recipients)
    assert said in caught.value.message
    assert "QQQQ" not in str(caught.value.details) + caught.value.message
    assert list(tmp_path.iterdir()) == []


def test_other_recipients_get_the_same_secrets(tmp_path, keys):
    """Sealing again adds who came and leaves out who went, and is not done without need."""
    directory = saved(tmp_path, keys, "ed25519")
    wanted = [keys["age"].recipient, keys["rsa"].recipient]
    assert secrets.reseal(directory, [keys["ed25519"].path], wanted)
    assert not secrets.reseal(directory, [keys["age"].path], wanted[::-1])
    assert revealed(secrets.open_store(directory, [keys["rsa"].path])) == revealed(full())
    with pytest.raises(ManifestError):
        secrets.open_store(directory, [keys["ed25519"].path])
    before = (directory / "secrets.age").read_bytes()
    assert not secrets.reseal(directory, [keys["age"].path], wanted)
    assert (directory / "secrets.age").read_bytes() == before
    assert not secrets.reseal(tmp_path / "none", [], wanted)


def _set_many(directory, key, first):
    for number in range(6):
        with secrets.locked(directory):
            store = secrets.open_store(directory, [key.path])
            spec = secrets.SecretSpec(f"S{first}_{number}", "given", "x", given=True)
            secrets.save(directory, set_given(store, spec, f"{first}-{number}", NOW), [key.recipient])


def test_two_processes_at_once_lose_nothing(tmp_path, keys):
    """Every secret that either process sealed is there at the end."""
    directory = tmp_path / "acme"
    context = multiprocessing.get_context("spawn")
    workers = [context.Process(target=_set_many, args=(directory, keys["age"], first)) for first in range(2)]
    for worker in workers:
        worker.start()
    for worker in workers:
        worker.join(120)
    assert [worker.exitcode for worker in workers] == [0, 0]
    store = secrets.open_store(directory, [keys["age"].path])
    assert revealed(store) == {f"S{first}_{number}": f"{first}-{number}" for first in range(2) for number in range(6)}
    assert {entry.name for entry in secrets.read_metadata(directory, [])} == set(store.values)


def test_a_given_value_survives_whatever_it_holds(tmp_path, keys):
    """Quotes, line breaks and every script come back as they went in."""
    value = "-----BEGIN KEY-----\n\"'\\ $HOME `x` #\t\u00e9\u4e2d\U0001f511\n: - {}"
    directory = tmp_path / "acme"
    secrets.save(directory, set_given(full(), GIVEN, value, NOW), [keys["age"].recipient])
    assert secrets.open_store(directory, [keys["age"].path]).values["API_KEY"].reveal() == value
