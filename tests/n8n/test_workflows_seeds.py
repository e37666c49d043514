"""The workflow templates in the company's first n8n, 1.41.1."""

from __future__ import annotations

import pytest

from tests.n8n import install
from tests.n8n.test_workflows import (
    office,
    open_office,
    services,
    test_a_called_run_that_waits_leaves_no_token,
    test_a_caller_without_the_secret_starts_nothing,
    test_a_click_on_execute_leaves_no_token,
    test_a_failure_is_told_and_the_mail_holds_no_data,
    test_a_notification_goes_where_the_user_is_connected,
    test_a_refusal_of_the_service_leaves_no_token,
    test_a_run_that_waits_leaves_no_token,
    test_drive_goes_to_notion_once,
    test_the_daily_maintenance_writes_to_who_has_to_connect_again,
    test_the_doctor_finds_what_could_keep_a_token_and_nothing_else,
    test_the_search_would_have_found_a_token,
    test_the_secure_base_answers_what_the_service_says,
    test_what_is_not_understood_is_refused_before_anything_is_asked,
    test_what_notion_refuses_is_counted_and_told,
)

__all__ = [
    "office",
    "open_office",
    "services",
    "test_a_called_run_that_waits_leaves_no_token",
    "test_a_caller_without_the_secret_starts_nothing",
    "test_a_click_on_execute_leaves_no_token",
    "test_a_failure_is_told_and_the_mail_holds_no_data",
    "test_a_notification_goes_where_the_user_is_connected",
    "test_a_refusal_of_the_service_leaves_no_token",
    "test_a_run_that_waits_leaves_no_token",
    "test_drive_goes_to_notion_once",
    "test_the_daily_maintenance_writes_to_who_has_to_connect_again",
    "test_the_doctor_finds_what_could_keep_a_token_and_nothing_else",
    "test_the_search_would_have_found_a_token",
    "test_the_secure_base_answers_what_the_service_says",
    "test_what_is_not_understood_is_refused_before_anything_is_asked",
    "test_what_notion_refuses_is_counted_and_told",
]


@pytest.fixture(scope="module")
def version():
    """The seeds' release."""
    return install.SEEDS
