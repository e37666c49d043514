"""Where the templates and playbooks are: inside the wheel, or at the root of a checkout."""

from __future__ import annotations

from pathlib import Path

from otobotctl.errors import OtobotError

_PACKAGE = Path(__file__).resolve().parent


def data_dir(name: str) -> Path:
    """Return the directory of `templates` or `playbooks`, from the wheel or from the checkout.

    Raises:
        OtobotError: neither place has it, so the installation is broken.
    """
    for root in (_PACKAGE / "_data", _PACKAGE.parent):
        if (root / name).is_dir():
            return root / name
    raise OtobotError(f"otobotctl was installed without its {name}", hint="pip install --force-reinstall otobotctl")
