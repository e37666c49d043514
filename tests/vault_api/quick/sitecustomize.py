"""Loaded by every Python whose PYTHONPATH is this folder: a vault that serves hashes passwords in 4 rounds in place of 12.

A hash then takes a millisecond in place of a quarter of a second of a processor; the code is the same.
"""

import sys

if "serve" in sys.orig_argv:
    from otobotctl.vault_api.access.passwords import WAITING, WORKERS, Passwords

    Passwords.__init__.__defaults__ = (4, WORKERS, WAITING)
