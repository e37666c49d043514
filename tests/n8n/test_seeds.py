"""The company's first n8n, 1.41.1, keeps the promise too, and gives the node its name. It starts on a Node of its own time."""

from __future__ import annotations

import pytest

from tests.n8n import install
from tests.n8n.test_exposing import (
    closed,
    guarded,
    test_a_workflow_cannot_read_the_nodes_own_token,
    test_the_node_and_the_credential_of_the_stock_node_go_on_working,
)
from tests.n8n.test_fetcher import (
    test_a_call_carries_the_users_token_and_gives_back_the_answer_without_it,
    test_no_connection_is_an_answer_and_the_workflow_goes_on,
    test_the_type_name_comes_out_right,
    test_where_the_node_may_go_on_the_error_is_an_item,
)
from tests.n8n.test_promise import (
    test_a_call_leaves_no_token,
    test_a_later_failure_and_a_wait_leave_no_token,
    test_a_run_from_a_webhook_leaves_no_token,
    test_a_service_that_cannot_be_reached_leaves_no_token,
    test_get_user_credentials_is_stored,
    test_the_stock_node_calls_as_the_user_of_each_item,
    test_the_stock_node_keeps_no_token_when_it_is_refused,
)

__all__ = [
    "closed",
    "guarded",
    "test_a_call_carries_the_users_token_and_gives_back_the_answer_without_it",
    "test_a_call_leaves_no_token",
    "test_a_later_failure_and_a_wait_leave_no_token",
    "test_a_run_from_a_webhook_leaves_no_token",
    "test_a_service_that_cannot_be_reached_leaves_no_token",
    "test_a_workflow_cannot_read_the_nodes_own_token",
    "test_get_user_credentials_is_stored",
    "test_no_connection_is_an_answer_and_the_workflow_goes_on",
    "test_the_node_and_the_credential_of_the_stock_node_go_on_working",
    "test_the_stock_node_calls_as_the_user_of_each_item",
    "test_the_stock_node_keeps_no_token_when_it_is_refused",
    "test_the_type_name_comes_out_right",
    "test_where_the_node_may_go_on_the_error_is_an_item",
]


@pytest.fixture(scope="module")
def version():
    """The seeds' release."""
    return install.SEEDS
