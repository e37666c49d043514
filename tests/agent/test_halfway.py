"""What becomes of containers whose replacement was cut off, by their names."""

import pytest

from otobotctl.agent import halfway


@pytest.mark.parametrize(
    ("listed", "goes", "renamed"),
    [
        ([], [], []),
        (["a acme-web-1", "b acme-web-next"], [], []),
        (["new 0123456789ab_acme-web-1", "old acme-web-1"], ["new"], []),
        (["old acme-web-1", "new 0123456789ab_acme-web-1"], ["new"], []),
        (["new 0123456789ab_acme-web-1", "db acme-db-1"], [], ["new"]),
        # One whose name a cut took away was replaced in its turn, and that was cut off as well.
        (["c aaaaaaaaaaaa_acme-web-1", "b bbbbbbbbbbbb_acme-web-1"], ["b"], ["c"]),
        (["b aaaaaaaaaaaa_bbbbbbbbbbbb_acme-web-1", "a acme-web-1"], ["b"], []),
        # Replicas are one name each.
        (["c aaaaaaaaaaaa_acme-web-2", "a acme-web-1"], [], ["c"]),
        (["x 0123456789ab-acme-web-1", "y 0123_acme-web-1"], [], []),
    ],
)
def test_what_has_its_name_stays_and_what_has_not_makes_room_or_gets_it(listed, goes, renamed):
    """The newest takes the name of one that is gone; all others that are half made go."""
    lines = "".join(line.replace(" ", "\t") + "\n" for line in listed)
    undone, done = halfway.decide(lines)
    assert [ident for ident, _ in undone] == goes
    assert [ident for ident, _ in done] == renamed
    assert {name for _, name in undone + done} <= {"acme-web-1", "acme-web-2"}
