"""What differs between n8n's versions, on the one that the company began with: its command line and its API."""

from __future__ import annotations

import pytest

from tests.n8n import install
from tests.n8n.test_provision import (
    bare,
    prepared,
    test_a_rotated_token_arrives_and_so_does_one_that_was_typed_over,
    test_a_workflow_asks_ia_interne_with_the_key_that_the_deploy_stored,
    test_an_active_workflow_is_updated_while_it_runs,
    test_dockers_health_check_is_true_of_it,
    test_one_run_prepares_everything_and_the_next_changes_nothing,
    test_workflows_come_out_and_go_in_with_their_credentials_by_name,
)

__all__ = [
    "bare",
    "prepared",
    "test_a_rotated_token_arrives_and_so_does_one_that_was_typed_over",
    "test_a_workflow_asks_ia_interne_with_the_key_that_the_deploy_stored",
    "test_an_active_workflow_is_updated_while_it_runs",
    "test_dockers_health_check_is_true_of_it",
    "test_one_run_prepares_everything_and_the_next_changes_nothing",
    "test_workflows_come_out_and_go_in_with_their_credentials_by_name",
]


@pytest.fixture(scope="module")
def version():
    """1.41.1."""
    return install.SEEDS
