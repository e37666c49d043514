"""`python -m tests.lab setup`: make what tests start from, so that no test waits for it. `python -m tests.lab clear`: remove remains."""

from __future__ import annotations

import signal
import sys
import time

from tests.lab import bases, images
from tests.lab import lab as laboratory
from tests.lab.lab import Lab


def setup() -> None:
    """Make the bases that are missing."""
    if reason := laboratory.missing():
        raise SystemExit(f"lab: none here: {reason}")
    begin = time.monotonic()
    lab = Lab()
    try:
        lab.open()
        name = bases.warm(lab)
        bases.registry_storage(lab)
    finally:
        lab.close()
    for image in images.without_stand_in():
        print(f"lab: no stand-in for {image}; a host must pull it for real", file=sys.stderr)
    print(f"lab: {name} is ready ({time.monotonic() - begin:.0f} s)", file=sys.stderr)


def main(arguments: list[str]) -> None:
    """Run one of the two commands."""
    signal.signal(signal.SIGTERM, signal.default_int_handler)
    if arguments == ["setup"]:
        setup()
    elif arguments == ["clear"]:
        laboratory.clear_abandoned()
        laboratory.unmount_abandoned()
    else:
        raise SystemExit("usage: python -m tests.lab setup | clear")


if __name__ == "__main__":
    main(sys.argv[1:])
