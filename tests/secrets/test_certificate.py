"""Certificates of the hosts that answer at one domain, read back by another implementation."""

from cryptography import x509
from cryptography.hazmat.primitives.asymmetric.ed25519 import Ed25519PrivateKey
from cryptography.hazmat.primitives.serialization import Encoding, PublicFormat, load_pem_private_key
from cryptography.x509.oid import ExtendedKeyUsageOID
from hypothesis import given
from hypothesis import strategies as st

from otobotctl.secrets import certificate, sshkey

SEED = bytes(range(32))


def test_the_certificate_is_its_keys_own_and_names_one_host():
    """Signed by itself, for one name, as a server and as a caller; the same seed gives the same bytes."""
    text = certificate.self_signed(SEED, "gpu-1", "peers.ia.example")
    assert text == certificate.self_signed(SEED, "gpu-1", "peers.ia.example")
    found = x509.load_pem_x509_certificate(text.encode())
    key = load_pem_private_key(certificate.key(SEED).encode(), None)
    assert isinstance(key, Ed25519PrivateKey)
    assert found.public_key() == key.public_key()
    found.verify_directly_issued_by(found)
    names = found.extensions.get_extension_for_class(x509.SubjectAlternativeName).value
    assert names.get_values_for_type(x509.DNSName) == ["peers.ia.example"]
    assert found.subject.rfc4514_string() == "CN=gpu-1"
    uses = found.extensions.get_extension_for_class(x509.ExtendedKeyUsage).value
    assert set(uses) == {ExtendedKeyUsageOID.SERVER_AUTH, ExtendedKeyUsageOID.CLIENT_AUTH}
    assert found.not_valid_after_utc.year == 9999
    assert found.extensions.get_extension_for_class(x509.KeyUsage).value.digital_signature


@given(st.binary(min_size=32, max_size=32), st.binary(max_size=300))
def test_signatures_are_those_of_another_implementation(seed, message):
    """RFC 8032 leaves no choice, so they are the same bytes."""
    other = Ed25519PrivateKey.from_private_bytes(seed)
    assert sshkey.sign(seed, message) == other.sign(message)
    assert sshkey.public_half(seed) == other.public_key().public_bytes(Encoding.Raw, PublicFormat.Raw)
