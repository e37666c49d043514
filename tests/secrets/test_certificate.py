"""Certificates of the hosts that answer at one domain."""

import hashlib

from cryptography import x509
from cryptography.hazmat.primitives.asymmetric.ed25519 import Ed25519PrivateKey
from cryptography.hazmat.primitives.serialization import load_pem_private_key
from cryptography.x509.oid import ExtendedKeyUsageOID

from otobotctl.secrets import certificate

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


def test_another_version_signs_the_same_bytes():
    """Hosts that run trust what is there: other bytes would be another certificate on each of them."""
    made = certificate.key(SEED) + certificate.self_signed(SEED, "gpu-1", "peers.ia.example")
    assert (
        hashlib.sha256(made.encode()).hexdigest() == "6d74323732187f5bea8fe10955eae64c34ac99c0e697656afc1441e855047785"
    )
