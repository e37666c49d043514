"""What the manifest may not promise of backups."""

from __future__ import annotations

import pytest

from otobotctl.manifest import backups
from otobotctl.manifest.findings import show


@pytest.mark.parametrize("where", ["defaults", "prod", "acme"])
def test_a_restore_to_any_moment_is_refused_while_nobody_can_do_it(where: str) -> None:
    """In each layer that may ask for it, with what to write instead; false promises nothing."""

    def found(pitr: bool) -> list[tuple[str, str]]:
        layer = {"backup": {"pitr": pitr}}
        document = {
            "defaults": {"defaults": layer}, "prod": {"environments": {"prod": layer}}, "acme": {"clients": {"acme": layer}},
        }[where]  # fmt: skip
        return [(show(each.path), each.remedy) for each in backups.check(document)]

    ((path, remedy),) = found(True)
    assert path.endswith("backup.pitr")
    assert remedy == 'take it out; "schedule": "hourly" loses an hour at most'
    assert found(False) == []
