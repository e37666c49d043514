"""What a domain name, an e-mail address, a slug and their like look like.

Each check returns None, or what is wrong and what to do.
"""

from __future__ import annotations

import base64
import binascii
import re
from collections.abc import Iterable

Wrong = tuple[str, str] | None

SLUG = r"[a-z]([a-z0-9-]{0,30}[a-z0-9])?"
LOGIN = r"[a-z_][a-z0-9_.-]{0,31}"
_LONGEST_NAME = 253
_LOGIN_KEYS = (
    "ssh-ed25519",
    "ssh-rsa",
    "ecdsa-sha2-nistp256",
    "ecdsa-sha2-nistp384",
    "ecdsa-sha2-nistp521",
    "sk-ssh-ed25519@openssh.com",
    "sk-ecdsa-sha2-nistp256@openssh.com",
)
PLACEHOLDERS = ("{name}", "{number}", "{path}")  # of agent/policy.py
_LABEL = r"(?!-)[a-z0-9-]{1,63}(?<!-)"
_NAME = re.compile(rf"{_LABEL}(\.{_LABEL})*")
_DOTTED_DIGITS = re.compile(r"[0-9.]+")
_OCTET = r"(25[0-5]|2[0-4][0-9]|1[0-9]{2}|[1-9]?[0-9])"
_IPV4 = re.compile(rf"{_OCTET}(\.{_OCTET}){{3}}")
_LOCAL_PART = re.compile(r"[A-Za-z0-9.!#$%&'*+/=?^_`{|}~-]{1,64}")
_ZONE = re.compile(r"[A-Za-z][A-Za-z0-9_+-]*(/[A-Za-z0-9_+-]+)*")
_AGE = re.compile(r"age1[02-9ac-hj-np-z]{58}")


def suggest(name: str, known: Iterable[str]) -> str:
    """Return a remedy for an unknown name: the nearest known one, or all of them."""
    names = list(known)
    from difflib import get_close_matches

    close = get_close_matches(name.lower(), names, n=1)
    if close:
        return f'did you mean "{close[0]}"?'
    return f"known: {', '.join(names)}" if names else "there are none yet"


def slug(value: str) -> Wrong:
    """Check a client's slug, a host's name or another name that becomes part of paths and commands."""
    if re.fullmatch(SLUG, value):
        return None
    plain = re.sub(r"[^a-z0-9]+", "-", value.lower()).strip("-0123456789")[:32].rstrip("-")
    rule = "use a-z, 0-9 and -, from a letter to a letter or digit, 32 characters at most"
    return f'"{value}" is not a slug', f"{rule}, for example {plain}" if plain else rule


def login(value: str) -> Wrong:
    """Check the name of a user on a host."""
    if re.fullmatch(LOGIN, value):
        return None
    return f'"{value}" is not a user name', "use the name that logs in on the host, such as root or ubuntu"


def operator(value: str) -> Wrong:
    """Check the name of a person's own account."""
    if value == "root":
        return "root is nobody's own account", "write the person's name, such as marie"
    return login(value) and (f'"{value}" is not an account\'s name', "use a-z, 0-9, _, . and -, such as marie")


def login_key(value: str) -> Wrong:
    """Check a public SSH key that logs in. What looks like a private key is never repeated."""
    if "PRIVATE" in value:
        return "this is a private key", "take it out, replace that key, and write the one line of the .pub file"
    kind, _, rest = value.strip().partition(" ")
    if kind not in _LOGIN_KEYS:
        return "is not a public SSH key", f"write the one line of the .pub file; kinds: {', '.join(_LOGIN_KEYS)}"
    if not value.isprintable() or _ssh_kind(rest.partition(" ")[0]) != kind:
        return f"is not a whole {kind} key", "copy the one line of the .pub file again"
    return None


def domain(value: str) -> Wrong:
    """Check a domain name with at least two labels; case and one trailing dot do not matter."""
    plain = value.removesuffix(".").lower()
    problem = f'"{value}" is not a domain name'
    if "://" in value or "/" in value:
        return problem, f"write the name alone: {re.sub(r'^[a-z]+://', '', plain).split('/')[0]}"
    if not plain.isascii():
        return problem, _punycode(plain)
    if plain.startswith("*."):
        return problem, f"wildcards are not possible: write {plain[2:]}"
    labels = plain.split(".")
    if not _NAME.fullmatch(plain) or len(plain) > _LONGEST_NAME or len(labels) == 1 or labels[-1].isdigit():
        guess = f"{labels[0]}.example" if _NAME.fullmatch(plain) and len(labels) == 1 else "acme.example"
        return problem, f"write it like {guess}"
    return None


def email(value: str) -> Wrong:
    """Check an e-mail address."""
    local, at, host = value.rpartition("@")
    dots = local.startswith(".") or local.endswith(".") or ".." in local
    if at and not host.isascii() and _LOCAL_PART.fullmatch(local):
        return f'"{value}" is not an e-mail address', _punycode(host)
    if not at or dots or not _LOCAL_PART.fullmatch(local) or domain(host) or host.endswith("."):
        return f'"{value}" is not an e-mail address', "write it like it@acme.example"
    return None


def address(value: str) -> Wrong:
    """Check where a host is reached: IPv4, IPv6 or a name."""
    plain = value.removesuffix(".").lower()
    remedy = ""
    if "@" in value:
        remedy = 'write the part after the @, and the user as "user"'
    elif value.startswith("["):
        remedy = "write IPv6 without brackets"
    elif value.count(":") == 1:
        remedy = f'write {value.partition(":")[0]}, and the port as "port"'
    elif ":" in value:
        remedy = "" if _ipv6(value) else "write IPv6 like 2001:db8::10"
    elif _DOTTED_DIGITS.fullmatch(value):
        remedy = "" if _IPV4.fullmatch(value) else "write IPv4 like 203.0.113.10"
    elif not plain.isascii():
        remedy = _punycode(plain)
    elif not _NAME.fullmatch(plain) or len(plain) > _LONGEST_NAME:
        remedy = "write an IPv4 address, an IPv6 address or a name"
    return (f'"{value}" is not an address', remedy) if remedy else None


def same_key(value: str) -> str:
    """Return a recipient's key without its comment."""
    return " ".join(value.split()[:2]) if value.startswith("ssh-") else value.strip()


def same_address(value: str) -> str:
    """Return one spelling for every way to write an address."""
    if ":" in value and _ipv6(value):
        import ipaddress

        return ipaddress.IPv6Address(value).compressed
    return value.removesuffix(".").lower()


def timezone(value: str) -> Wrong:
    """Check an IANA time zone, against the machine's own list where it has one."""
    wrong = f'"{value}" is not a time zone', "write it like Europe/Paris"
    if not _ZONE.fullmatch(value):
        return wrong
    import zoneinfo

    known = zoneinfo.available_timezones() if value != "Europe/Paris" else ()
    if known and value not in known:
        return wrong[0], suggest(value, sorted(known)) if "/" in value else wrong[1]
    return None


def line(value: str) -> Wrong:
    """Check text that is shown: something, on one line."""
    if value.strip() and value.isprintable():
        return None
    return "is blank" if not value.strip() else "holds a line break or control character", "write it on one line"


def recipient(value: str) -> Wrong:
    """Check a public key that secrets can be sealed for. What looks like a private key is never repeated."""
    if "PRIVATE" in value or value.strip().upper().startswith("AGE-SECRET-KEY"):
        return "this is a private key", "take it out, replace that key, and write the public one"
    kind, _, rest = value.strip().partition(" ")
    if kind.startswith("age1"):
        whole = _AGE.fullmatch(kind)
        return None if whole else ("is not a whole age key", "copy it again: age1 and 58 characters")
    if kind.startswith("sk-"):
        return f"age cannot use {kind}: it lives in a hardware token", "add an ssh-ed25519, ssh-rsa or age1... key"
    if kind not in {"ssh-ed25519", "ssh-rsa"}:
        named = kind if kind.startswith(("ssh-", "ecdsa-")) else "this"
        return f"{named} is not a kind of key that age can seal for", "use ssh-ed25519, ssh-rsa or age1..."
    if _ssh_kind(rest.partition(" ")[0]) != kind:
        return f"is not a whole {kind} key", "copy the one line of the .pub file again"
    return None


def _ssh_kind(encoded: str) -> str:
    """Return the kind that the key's own bytes name, "" when they cannot be read."""
    try:
        raw = base64.b64decode(encoded, validate=True)
    except (binascii.Error, ValueError):
        return ""
    length = int.from_bytes(raw[:4], "big")
    return raw[4 : 4 + length].decode("ascii", "replace")


def _ipv6(value: str) -> bool:
    import ipaddress

    try:
        ipaddress.IPv6Address(value)
    except ValueError:
        return False
    return True


def _punycode(name: str) -> str:
    try:
        return f"write {name.encode('idna').decode()}"
    except UnicodeError:
        return "use a-z, 0-9, - and dots"


def command(value: str) -> Wrong:
    """Check a line of a role: a program, then words and placeholders."""
    parts = value.split()
    if not parts or parts[0].startswith("{"):
        return f'"{value}" names no program', "begin with the program, such as: tail -n {number} {path}"
    for place, part in enumerate(parts):
        plain = part.removesuffix("...") if place == len(parts) - 1 else part
        if ("{" in plain or "}" in plain) and plain not in PLACEHOLDERS:
            return f'"{part}" is not a placeholder', f"use {', '.join(PLACEHOLDERS)}, each a word of its own"
    return None


def directory(value: str) -> Wrong:
    """Check a path that a role may read below."""
    if value.startswith("/") and value.strip("/") and ".." not in value.split("/") and "//" not in value:
        return None
    return f'"{value}" is not the path of a directory or file', "write it from the root on, such as /var/log"
