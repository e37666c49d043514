"""The company's first n8n, 1.41.1, with a queue and a worker."""

from __future__ import annotations

import pytest

from tests.n8n import install
from tests.n8n.test_queue import (
    office,
    open_office,
    queue,
    services,
    test_a_called_run_that_waits_leaves_no_token,
    test_drive_goes_to_notion_once,
    test_the_search_would_have_found_a_token,
    test_the_secure_base_answers_what_the_service_says,
    test_what_passes_through_redis_is_found_there,
)

__all__ = [
    "office",
    "open_office",
    "queue",
    "services",
    "test_a_called_run_that_waits_leaves_no_token",
    "test_drive_goes_to_notion_once",
    "test_the_search_would_have_found_a_token",
    "test_the_secure_base_answers_what_the_service_says",
    "test_what_passes_through_redis_is_found_there",
]


@pytest.fixture(scope="module")
def version():
    """The seeds' release."""
    return install.SEEDS
