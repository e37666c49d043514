"""The person at work, as journals, audits and records name them."""

from __future__ import annotations

import getpass
import platform


def name() -> str:
    """Return the account and the machine, such as marie@laptop."""
    return f"{getpass.getuser()}@{platform.node()}"
