"""The archive as a file: packed, sealed, read back, for any members; and whatever is changed in it is noticed."""

import hashlib
import io
import json
import zipfile
from datetime import UTC, datetime
from pathlib import Path

import pyrage
import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from otobotctl.backup import contents
from otobotctl.backup.packing import About, Packing
from otobotctl.backup.reading import check
from otobotctl.backup.sealing import NoIdentityError, Part, unseal
from otobotctl.errors import OtobotError

KEY = pyrage.x25519.Identity.generate()
ABOUT = About("acme", "ACME SAS", "vps-1", "2026-11-21T15:00:00Z", "1.0", b'{"A": {"value": "b"}}')
NAMES = st.from_regex(r"(databases|volumes|configuration)/[a-z0-9_./-]{1,40}", fullmatch=True).filter(contents.is_safe)
BLOCKS = st.lists(st.binary(max_size=70_000), max_size=4)


def records(members, *, consistent=True):
    """What a host sends for {name: [block]}."""
    yield {"release": 7, "members": len(members), "images": {"n8n": "n8n:1"}}
    for name, blocks in members.items():
        yield {"member": name}
        for block in blocks:
            yield {"block": len(block), "data": block}
        whole = b"".join(blocks)
        yield {"member_end": name, "bytes": len(whole), "sha256": hashlib.sha256(whole).hexdigest(), "note": ""}
    yield {"archived": len(members), "consistent": consistent}


def made(path, members, told=lambda _: None):
    """Write an archive of these members; return its manifest."""
    packing = Packing(ABOUT, records(members), told)
    with Part(path) as part:
        part.write(packing.pieces(), [KEY.to_public()])
        part.settle()
    return packing.manifest


def packed(stream):
    """The ZIP of a stream of records; raises as packing does."""
    return b"".join(Packing(ABOUT, iter(stream), lambda _: None).pieces())


@given(members=st.dictionaries(NAMES, BLOCKS, max_size=5))
@settings(max_examples=60, deadline=None, suppress_health_check=[HealthCheck.function_scoped_fixture])
def test_what_goes_in_comes_out(tmp_path, members):
    """Any names and bytes: read back by the manifest, and by zipfile from what stock age would give."""
    path = tmp_path / "a.zip.age"
    manifest = made(path, members)
    assert check(path, [KEY]) == manifest
    plain = io.BytesIO()
    unseal(path, [KEY], plain)
    with zipfile.ZipFile(plain) as archive:
        assert archive.testzip() is None
        found = {name: archive.read(name) for name in archive.namelist()}
    assert {name: found[name] for name in members} == {name: b"".join(blocks) for name, blocks in members.items()}
    assert contents.decode(found[contents.MANIFEST]) == manifest
    assert found[contents.SECRETS] == ABOUT.secrets
    assert {member.name for member in manifest.members} == found.keys() - {contents.MANIFEST}


@given(at=st.floats(0, 1, exclude_max=True), bit=st.integers(0, 7))
@settings(max_examples=80, deadline=None, suppress_health_check=[HealthCheck.function_scoped_fixture])
def test_any_flipped_bit_is_noticed(tmp_path, at, bit):
    """Wherever it is in the sealed file."""
    path = tmp_path / "a.zip.age"
    if not path.exists():
        made(path, {"databases/a.dump": [bytes(range(256)) * 300]})
    raw = bytearray(path.read_bytes())
    raw[int(at * len(raw))] ^= 1 << bit
    spoilt = tmp_path / "spoilt"
    spoilt.write_bytes(raw)
    with pytest.raises((ValueError, NoIdentityError)):
        check(spoilt, [KEY])


@given(at=st.floats(0, 1, exclude_max=True))
@settings(max_examples=40, deadline=None, suppress_health_check=[HealthCheck.function_scoped_fixture])
def test_any_cut_is_noticed(tmp_path, at):
    """Wherever the sealed file ends too early, at a block of age's too."""
    path = tmp_path / "a.zip.age"
    if not path.exists():
        made(path, {"databases/a.dump": [bytes(range(256)) * 600]})
    raw = path.read_bytes()
    spoilt = tmp_path / "spoilt"
    spoilt.write_bytes(raw[: int(at * len(raw))])
    with pytest.raises((ValueError, NoIdentityError)):
        check(spoilt, [KEY])


def test_a_member_that_is_not_what_the_manifest_says_is_noticed(tmp_path):
    """A ZIP in itself whole, sealed by somebody with the public key, with another member under the manifest."""
    path = tmp_path / "a.zip.age"
    made(path, {"databases/a.dump": [b"true"]})
    plain = io.BytesIO()
    unseal(path, [KEY], plain)
    forged = io.BytesIO()
    with zipfile.ZipFile(plain) as archive, zipfile.ZipFile(forged, "w") as other:
        for name in archive.namelist():
            other.writestr(name, b"fake" if name.endswith(".dump") else archive.read(name))
    with path.open("wb") as stream:
        pyrage.encrypt_io(io.BytesIO(forged.getvalue()), stream, [KEY.to_public()])
    with pytest.raises(ValueError, match=r"databases/a.dump is not what its manifest says"):
        check(path, [KEY])


def test_a_stranger_cannot_open_it(tmp_path):
    """Told apart from a damaged file."""
    path = tmp_path / "a.zip.age"
    made(path, {})
    with pytest.raises(NoIdentityError):
        check(path, [pyrage.x25519.Identity.generate()])
    with pytest.raises(NoIdentityError):
        check(path, [])


@pytest.mark.parametrize("length", range(7))
def test_a_stream_that_ends_too_early_is_refused(length):
    """After any record but the last."""
    story = list(records({"databases/a.dump": [b"one", b"two"], "volumes/b.tar": []}))
    with pytest.raises(OtobotError, match="ends before its end"):
        packed(story[:length])


def test_a_stream_that_lacks_a_member_is_refused():
    """The host counts its members."""
    story = list(records({"databases/a.dump": []}))
    story[-1] = {**story[-1], "archived": 2}
    with pytest.raises(OtobotError, match="ends before its end"):
        packed(story)


@pytest.mark.parametrize("field", ["bytes", "sha256"])
def test_a_member_with_another_digest_is_refused(field):
    """What arrived is not what was sent."""
    story = list(records({"databases/a.dump": [b"one"]}))
    story[3] = {**story[3], field: 4 if field == "bytes" else "0" * 64}
    with pytest.raises(OtobotError, match="did not arrive as vps-1 sent it"):
        packed(story)


@pytest.mark.parametrize("name", ["", "/etc/passwd", "../up", "a/../../b", "a\\b", "a\0b"])
def test_a_name_that_leads_elsewhere_is_refused(name):
    """A host that was taken over does not write beside the directory that an archive is unpacked in."""
    with pytest.raises(OtobotError, match="under the name"):
        packed(records({name: [b"x"]}))


def test_a_name_twice_is_refused():
    """Whoever unpacks would see one of the two."""
    story = list(records({"volumes/a.tar": [b"x"]}))
    with pytest.raises(OtobotError, match="under the name"):
        packed([*story[:-1], *story[1:]])


def test_the_file_has_its_name_only_when_it_is_whole(tmp_path):
    """While it is written there is a part of 0600; after a failure there is nothing."""
    path = tmp_path / "a.zip.age"
    seen = []

    def pieces():
        yield b"x" * 100_000
        seen.extend((part.name, part.stat().st_mode & 0o777) for part in tmp_path.iterdir())
        raise OtobotError("the line broke")

    with pytest.raises(OtobotError, match="the line broke"), Part(path) as part:
        part.write(pieces(), [KEY.to_public()])
    assert seen == [("a.zip.age.part", 0o600)]
    assert list(tmp_path.iterdir()) == []


def test_ctrl_c_comes_through_age(tmp_path):
    """What is raised inside the stream comes out as it was."""

    def pieces():
        yield b"x"
        raise KeyboardInterrupt

    with pytest.raises(KeyboardInterrupt), Part(tmp_path / "a") as part:
        part.write(pieces(), [KEY.to_public()])
    assert list(tmp_path.iterdir()) == []


def test_a_full_device_is_told(monkeypatch):
    """ENOSPC of a real device, in words and with what to do."""
    part = Part(Path("/dev/shm/otobot-test"))
    part.path = Path("/dev/full")
    monkeypatch.setattr(Path, "unlink", lambda *_, **__: None)
    monkeypatch.setattr("os.O_EXCL", 0)
    with pytest.raises(OtobotError, match="No space left on device") as caught:
        part.write([b"x" * 100_000], [KEY.to_public()])
    assert "free some room" in caught.value.hint


def test_names_tell_client_and_time():
    """In UTC, to the second, sorted by time."""
    assert contents.file_name("acme", datetime(2026, 11, 21, 15, tzinfo=UTC)) == "acme-20261121T150000Z.zip.age"


def test_a_manifest_of_another_version_is_refused():
    """A later otobotctl may mean something else by its fields."""
    manifest = json.loads(made_manifest().encoded())
    with pytest.raises(ValueError, match="version 2"):
        contents.decode(json.dumps({**manifest, "version": 2}).encode())


def made_manifest():
    """Some manifest."""
    packing = Packing(ABOUT, records({}), lambda _: None)
    list(packing.pieces())
    return packing.manifest


def test_the_readme_tells_only_of_what_is_there():
    """A client without MongoDB reads nothing of it."""
    text = contents.readme("acme", "ACME SAS", ["databases/a.dump"]).decode()
    assert "pg_restore" in text
    assert "mongorestore" not in text
    assert "docker volume" not in text


def test_progress_is_told_by_member():
    """Start, end with size and time."""
    told = []
    packing = Packing(ABOUT, records({"volumes/a.tar": [b"four"]}), told.append)
    list(packing.pieces())
    assert [each["event"] for each in told] == ["archive_start", "member_start", "member_end"]
    assert told[-1]["bytes"] == 4
    assert "four" not in repr(told)
