"""What a slug, a domain name, an address and their like look like."""

import pytest

from otobotctl.manifest import words

ED25519 = "ssh-ed25519 AAAAC3NzaC1lZDI1NTE5AAAAIK9G3K0+J6dv05K45i8Bdf92lr5L+sHlTfbqGM4ybkb7 it@acme.example"
AGE = "age1e2n53r56zmjtjy8s38nkeh9naw8jefs6c72hdu60092429ky5p2qntv606"


@pytest.mark.parametrize(
    ("check", "value"),
    [
        (words.slug, "a"),
        (words.slug, "vps-1"),
        (words.slug, "a" * 32),
        (words.domain, "acme.example"),
        (words.domain, "ACME.Example."),
        (words.domain, "xn--acm-dma.fr"),
        (words.domain, "a.b.c.d.example"),
        (words.email, "it+ops@acme.example"),
        (words.address, "203.0.113.10"),
        (words.address, "2001:db8::10"),
        (words.address, "fe80::1%eth0"),
        (words.address, "vps"),
        (words.address, "vps-1.acme.example"),
        (words.login, "ubuntu"),
        (words.timezone, "Europe/Paris"),
        (words.timezone, "Asia/Tokyo"),
        (words.recipient, ED25519),
        (words.recipient, AGE),
    ],
)
def test_what_is_right_is_accepted(check, value):
    """A right value gives no finding."""
    assert check(value) is None


@pytest.mark.parametrize(
    ("check", "value", "said"),
    [
        (words.slug, "ACME SAS", "for example acme-sas"),
        (words.slug, "1acme", "for example acme"),
        (words.slug, "acme-", "for example acme"),
        (words.slug, "", "use a-z, 0-9 and -"),
        (words.slug, "a" * 33, "32 characters at most"),
        (words.domain, "acme", "write it like acme.example"),
        (words.domain, "https://acme.fr/login", "write the name alone: acme.fr"),
        (words.domain, "*.acme.fr", "write acme.fr"),
        (words.domain, "acmé.fr", "write xn--acm-dma.fr"),
        (words.domain, "-a.fr", "write it like"),
        (words.domain, "a..fr", "write it like"),
        (words.domain, "10.0.0.1", "write it like"),
        (words.domain, f"{'a' * 64}.fr", "write it like"),
        (words.domain, "acme.fr;", "write it like"),
        (words.email, "acme.example", "it@acme.example"),
        (words.email, ".a@acme.example", "it@acme.example"),
        (words.email, "it@acmé.fr", "write xn--acm-dma.fr"),
        (words.email, "it @acme.fr", "it@acme.example"),
        (words.address, "203.0.113.300", "write IPv4"),
        (words.address, "2001:db8::zz", "write IPv6"),
        (words.address, "[2001:db8::1]", "without brackets"),
        (words.address, "root@vps", 'the user as "user"'),
        (words.address, "vps:2222", 'the port as "port"'),
        (words.address, "-oProxyCommand=x", "or a name"),
        (words.address, "", "or a name"),
        (words.login, "-l", "root or ubuntu"),
        (words.timezone, "Europe/Pari", 'did you mean "Europe/Paris"?'),
        (words.timezone, "Paris time", "write it like Europe/Paris"),
        (words.line, " ", "write it on one line"),
        (words.line, "a\nb", "write it on one line"),
        (words.recipient, "ecdsa-sha2-nistp256 AAAA", "ecdsa-sha2-nistp256 is not a kind"),
        (words.recipient, "sk-ssh-ed25519@openssh.com AAAA", "sk-ssh-ed25519@openssh.com"),
        (words.recipient, "age1short", "58 characters"),
        (words.recipient, "ssh-ed25519 AAAA", "copy the one line"),
        (words.recipient, "ssh-rsa " + ED25519.split()[1], "is not a whole ssh-rsa key"),
        (words.recipient, "hello", "this is not a kind"),
    ],
)
def test_what_is_wrong_comes_with_a_remedy(check, value, said):
    """A wrong value says what to write instead."""
    assert said in "; ".join(check(value))


@pytest.mark.parametrize("value", ["AGE-SECRET-KEY-1QQQQ", "-----BEGIN OPENSSH PRIVATE KEY----- b3Bl"])
def test_a_private_key_is_never_repeated(value):
    """Pasting a private key as a recipient is found, and not a character of it is shown."""
    said = "; ".join(words.recipient(value))
    assert "private key" in said
    assert "QQQQ" not in said
    assert "b3Bl" not in said


def test_addresses_have_one_spelling():
    """IPv6 in any form, and names in any case, compare equal."""
    assert words.same_address("2001:DB8:0::10") == words.same_address("2001:db8::10")
    assert words.same_address("VPS.example.") == words.same_address("vps.example")
