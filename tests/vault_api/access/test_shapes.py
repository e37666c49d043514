"""Bodies and answers: nothing secret shows in a repr, so none can reach a log or an exception."""

from __future__ import annotations

import inspect

import msgspec
import pytest

from otobotctl.vault_api import contract, contract_admin, contract_oauth, contract_people

SECRET = {
    "password", "new_password", "otp", "token", "refresh_token", "access_token", "api_key", "key", "secret", "uri",
    "client_secret", "recovery_codes",
}  # fmt: skip
SHAPES = [
    shape
    for module in (contract, contract_people, contract_admin)
    for _, shape in inspect.getmembers(module, inspect.isclass)
    if issubclass(shape, msgspec.Struct) and set(shape.__struct_fields__) & SECRET
]


@pytest.mark.parametrize("shape", sorted(set(SHAPES), key=lambda one: one.__name__), ids=lambda one: one.__name__)
def test_what_is_secret_does_not_show(shape):
    """The repr of a body or an answer that holds a secret is its name alone."""
    filled = {name: ["shown-word"] if name == "recovery_codes" else "shown-word" for name in shape.__struct_fields__}
    assert "shown-word" not in repr(shape(**filled))


def test_there_are_such_shapes():
    """The list above finds what it looks for."""
    assert len(set(SHAPES)) > 12


@pytest.mark.parametrize(
    ("module", "name", "fits"),
    [
        (contract, "Email", "lea@acme.example"),
        (contract, "Id", "00000000-0000-4000-8000-000000000001"),
        (contract, "ServiceCode", "google"),
        (contract_admin, "WebhookPath", "start/now"),
        (contract_oauth, "Token", "abc"),
    ],
)
def test_a_line_break_behind_the_end_is_not_let_in(module, name, fits):
    """The patterns of the document's kind would: an address with one is another person to the database."""
    shape = getattr(module, name)
    assert msgspec.convert(fits, shape) == fits
    with pytest.raises(msgspec.ValidationError):
        msgspec.convert(f"{fits}\n", shape)
