"""Names that are imported when they are used."""

from __future__ import annotations

import subprocess
import sys

import pytest

from otobotctl import lazy, manifest, secrets


def test_a_package_gives_what_it_names_and_nothing_else():
    """Each name is found where it is; another one is an AttributeError, as of any module."""
    find = lazy.names("otobotctl.agent", {"facts_digest": "protocol"})
    assert find("facts_digest").__module__ == "otobotctl.agent.protocol"
    with pytest.raises(AttributeError, match=r"'otobotctl\.agent' has no attribute 'nothing'"):
        find("nothing")


@pytest.mark.parametrize("package", [manifest, secrets])
def test_every_name_that_a_package_offers_is_there(package):
    """`__all__` promises no name that its modules do not have."""
    assert all(getattr(package, name) is not None for name in package.__all__)


def test_importing_the_packages_leaves_their_heavy_half_alone():
    """Editing, the schema and the sealed store are not read for a name that needs none of them."""
    program = (
        "import sys; from otobotctl import manifest, secrets; print(*(n for n in sys.modules if 'otobotctl' in n))"
    )
    done = subprocess.run([sys.executable, "-c", program], capture_output=True, text=True, check=True)
    loaded = done.stdout.split()
    assert "otobotctl.manifest.load" in loaded
    assert not {"otobotctl.manifest.edit", "otobotctl.manifest.schema", "otobotctl.secrets.store"} & set(loaded)
