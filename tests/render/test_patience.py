"""How long a project may take to become healthy."""

from otobotctl.render import patience


def checked(start_s, *after):
    health = {"start_period": f"{start_s}s", "interval": "10s", "timeout": "5s", "retries": 4}
    return {"healthcheck": health, "depends_on": {name: {"condition": "service_healthy"} for name in after}}


def test_containers_that_wait_for_each_other_add_up():
    """The longest chain counts: each start period, and each failed check after it."""
    services = {"a": checked(120), "b": checked(200, "a"), "c": checked(100), "d": {"depends_on": ["b"]}}
    assert patience.wait_s(services) == (120 + 60) + (200 + 60) + 60


def test_it_is_never_less_than_five_minutes_nor_more_than_an_hour():
    """A project of quick containers gets 300 s; one that could take days, 3600."""
    assert patience.wait_s({"a": checked(1)}) == 300
    assert patience.wait_s({}) == 300
    slow = checked(0) | {"healthcheck": {"start_period": "1h30m"}}
    assert patience.wait_s({"a": slow}) == 3600


def test_a_circle_of_containers_ends():
    """Compose refuses such a project by itself, in its own words."""
    assert patience.wait_s({"a": checked(200, "b"), "b": checked(200, "a")}) > 300
