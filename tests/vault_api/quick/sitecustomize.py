"""Loaded by every Python whose PYTHONPATH is this folder: a vault that serves hashes passwords in 4 rounds in place of 12.

A hash then takes a millisecond in place of a quarter of a second of a processor; the code is the same. Where
VAULT_TEST_WAIT_S says so, a program waits that long for its database, and not a minute.
"""

import os
import sys

if "serve" in sys.orig_argv:
    from otobotctl.vault_api.access.passwords import WAITING, WORKERS, Passwords

    Passwords.__init__.__defaults__ = (4, WORKERS, WAITING)

if wait := os.environ.get("VAULT_TEST_WAIT_S"):
    from otobotctl.vault_api import schema
    from otobotctl.vault_api.vault import Vault

    schema.migrate.__kwdefaults__["wait_s"] = float(wait)
    Vault.open.__func__.__kwdefaults__["wait_s"] = float(wait)
