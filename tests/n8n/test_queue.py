"""n8n with a queue: a real Redis and a real worker, which runs what is called; both keep nothing of a token either."""

from __future__ import annotations

import secrets

import pytest

from tests.lab.fixtures import unavailable
from tests.n8n import queue as queues
from tests.n8n.search import stored
from tests.n8n.test_workflows import (
    office,
    open_office,
    services,
    test_a_called_run_that_waits_leaves_no_token,
    test_a_click_on_execute_leaves_no_token,
    test_a_notification_goes_where_the_user_is_connected,
    test_a_refusal_of_the_service_leaves_no_token,
    test_a_run_that_waits_leaves_no_token,
    test_drive_goes_to_notion_once,
    test_the_search_would_have_found_a_token,
    test_the_secure_base_answers_what_the_service_says,
)

__all__ = [
    "office",
    "open_office",
    "services",
    "test_a_called_run_that_waits_leaves_no_token",
    "test_a_click_on_execute_leaves_no_token",
    "test_a_notification_goes_where_the_user_is_connected",
    "test_a_refusal_of_the_service_leaves_no_token",
    "test_a_run_that_waits_leaves_no_token",
    "test_drive_goes_to_notion_once",
    "test_the_search_would_have_found_a_token",
    "test_the_secure_base_answers_what_the_service_says",
]


@pytest.fixture(scope="module")
def queue(tmp_path_factory):
    """A Redis for this n8n and its worker."""
    if reason := queues.missing():
        unavailable(reason)
    with queues.redis(tmp_path_factory.mktemp("redis")) as served:
        yield served


def test_what_passes_through_redis_is_found_there(office, queue):
    """The control for Redis, and that the worker ran it: an answer to a webhook comes from there, through the queue."""
    user, _ = office.person("notion")
    planted = f"tok_{secrets.token_hex(12)}"
    office.services.notion.says = planted
    answer = office.call(office.flows["secure-base"], user)
    office.services.notion.says = ""
    assert answer.json()["result"]["name"] == planted
    found = stored(office.n8n, planted)
    assert [place for place in found if "redis" in place and "raw" in place]
    assert [place for place in found if place.startswith("pg_dump: raw")]
