"""The small OpenPGP parser, on keys that GnuPG made."""

from __future__ import annotations

from pathlib import Path

import pytest

from otobotctl.agent import openpgp

KEYS = Path(__file__).parent / "kinds/keys"
ED25519 = "8C9EC07BB4622B3C63309D2619A6D958C28B35BC"
LONG = "D975ECC360B71749B764DCD2DD1A12D75B23477B"
EXPIRED = "626AAE2E818F365972220244B2C7AF73F476069E"


def binary(name):
    return openpgp.dearmour((KEYS / f"{name}.asc").read_bytes())


def packet(tag, body):
    """One packet in the new format."""
    return bytes([0xC0 | tag, 255]) + len(body).to_bytes(4, "big") + body


@pytest.mark.parametrize(
    ("name", "expected"),
    [
        ("ed25519", [(ED25519, None)]),
        ("long", [(LONG, 3469996800)]),
        ("expired", [(EXPIRED, 1609372800)]),
        ("both", [(ED25519, None), (LONG, 3469996800)]),
    ],
)
def test_fingerprints_and_expiry_are_those_of_gnupg(name, expected):
    """What `gpg --show-keys` printed when the keys were made."""
    assert [(key.fingerprint, key.expires) for key in openpgp.keys(binary(name))] == expected


def test_a_key_can_be_cut_out_of_a_file_with_several():
    """The bytes of one key are a key file of their own."""
    first, second = openpgp.keys(binary("both"))
    assert first.data == binary("ed25519")
    assert second.data == binary("long")
    assert openpgp.keys(second.data) == [second]


def test_binary_files_are_taken_as_they_are():
    """A file that is not armoured passes through."""
    assert openpgp.dearmour(binary("long")) == binary("long")


def test_both_packet_formats_are_read():
    """The same key with new-format lengths has the same fingerprint."""
    old = binary("ed25519")
    size = old[1]
    assert old[0] == 0x98
    assert openpgp.keys(packet(6, old[2 : 2 + size]))[0].fingerprint == ED25519


@pytest.mark.parametrize(
    "data",
    [
        b"",
        b"<html>404</html>",
        b"-----BEGIN PGP PUBLIC KEY BLOCK-----\n\n!!!!\n-----END PGP PUBLIC KEY BLOCK-----\n",
        b"-----BEGIN PGP PUBLIC KEY BLOCK-----\nAAAA\n-----END PGP PUBLIC KEY BLOCK-----\n",
    ],
)
def test_what_is_no_key_file_is_refused(data):
    """An error page, an empty answer, a damaged or an unfinished armour."""
    with pytest.raises(openpgp.KeyFileError):
        openpgp.keys(openpgp.dearmour(data))


@pytest.mark.parametrize(
    ("data", "reason"),
    [
        (binary("ed25519")[:-1], "cut short"),
        (binary("ed25519") + b"\x00", "damaged"),
        (packet(5, b"\x04" + bytes(40)), "private key"),
        (packet(6, b"\x03" + bytes(40)), "version other than 4"),
        (packet(6, b"\x06" + bytes(40)), "version other than 4"),
        (packet(13, b"me"), "other than public keys"),
        (packet(6, b"\x04" + bytes(40)) + packet(9, b""), "other than public keys"),
        (b"\x9b" + bytes(40), "without a length"),
        (b"\xc6\xe1" + bytes(40), "cut in parts"),
        (b"\xc6", "cut short"),
        (b"\xc6\xff\x00", "cut short"),
    ],
)
def test_what_apt_could_read_otherwise_is_refused(data, reason):
    """Nothing in the file may escape this parser: strange packets, partial lengths, trailing bytes."""
    with pytest.raises(openpgp.KeyFileError, match=reason):
        openpgp.keys(data)


def test_a_signature_by_somebody_else_says_nothing_of_the_expiry():
    """Only the key's own signatures count: a foreign one cannot make it live longer."""
    expired, foreign = binary("expired"), binary("ed25519")
    packets = list(openpgp._packets(foreign))
    signature = foreign[packets[-1][1] :]
    assert openpgp.keys(expired + signature)[0].expires == 1609372800
