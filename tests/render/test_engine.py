"""Templates are strict, and secrets stay where they belong."""

import re
from dataclasses import replace

import pytest
from jinja2 import Environment

from otobotctl.data import data_dir
from otobotctl.errors import ManifestError
from otobotctl.render import engine
from otobotctl.render.client import render_client
from otobotctl.render.engine import NoSecrets, SecretView, quote_env
from otobotctl.secrets import Secret
from tests.render.sample import catalog, resolved, secrets_of


def spoiled(**sources):
    """The catalogue with some templates replaced."""
    return replace(catalog(), sources={**catalog().sources, **sources})


def render_with(**sources):
    """Render the sample's first client with some templates replaced."""
    fleet = resolved()
    client = fleet.client("acme")
    return render_client(client, fleet.host("vps-1"), 0, secrets_of(client), spoiled(**sources))


def test_what_is_undefined_names_the_template_and_the_line():
    """A misspelt variable is an error and never an empty string."""
    with pytest.raises(ManifestError, match=r"postgres/init\.sql\.j2:2: .*has no attribute 'slugg'"):
        render_with(**{"postgres/init.sql.j2": "--\n{{ client.slugg }}\n"})


def test_a_syntax_error_names_the_template_and_the_line():
    """So is a template that is not one."""
    with pytest.raises(ManifestError, match=r"postgres/init\.sql\.j2:2: "):
        render_with(**{"postgres/init.sql.j2": "--\n{% if %}\n"})


def test_a_secret_outside_an_environment_file_is_refused():
    """Not even a template of the service that owns it may print it elsewhere."""
    with pytest.raises(ManifestError, match="secret POSTGRES_PASSWORD is used outside an environment file"):
        render_with(**{"postgres/init.sql.j2": "{{ secrets.POSTGRES_PASSWORD }}\n"})


def test_a_secret_of_another_service_is_refused():
    """A service has to name what it uses, where everybody sees it."""
    with pytest.raises(ManifestError, match=r"postgres: uses secret API_JWT_SECRET, which its service\.yaml does not"):
        render_with(**{"postgres/postgres.env.j2": "X={{ secrets.API_JWT_SECRET }}\n"})


def test_printing_all_secrets_prints_their_names():
    """The view itself, printed by mistake, gives nothing away."""
    view = SecretView({"A": Secret("A", "hidden"), "B": Secret("B", "hidden")}, ["B", "A"], "postgres")
    assert f"{view}" == "SecretView(A, B)"
    assert repr(NoSecrets("postgres")) == "SecretView()"


@pytest.mark.parametrize(
    ("value", "quoted"),
    [("plain-1.2/x@y", "plain-1.2/x@y"), ("two words", "'two words'"), ("$HOME # no", "'$HOME # no'"), ("é", "'é'")],
)
def test_environment_values_are_quoted_only_where_compose_needs_it(value, quoted):
    """Quotes keep Compose from substituting and cutting."""
    assert quote_env(value) == quoted


@pytest.mark.parametrize("value", ["it's", "two\nlines", "back\\slash", "tab\there", ""])
def test_what_an_environment_file_cannot_carry_is_refused_unseen(value):
    """The message does not repeat the value; an empty one is quoted."""
    if not value:
        assert quote_env(value) == "''"
        return
    with pytest.raises(ManifestError) as error:
        quote_env(value)
    assert value not in error.value.message


def test_templates_are_not_escaped_and_end_with_one_newline():
    """Configuration is written as it is."""
    made = spoiled(**{"postgres/x.j2": "a < {{ b }}\n\n\n"})
    assert engine.render(made, "postgres/x.j2", {"b": "&"}) == "a < &\n"


def test_no_template_makes_two_threads_parse_python_at_once():
    """Jinja reads a number with a point by Python's own parser, which in 3.11 is for one thread at a time."""
    jinja = Environment()
    texts = dict(catalog().sources)
    for path in data_dir("playbooks").glob("*.yaml"):
        text = path.read_text()
        texts[path.name] = "\n".join([text, *(f"{{{{ {each} }}}}" for each in re.findall(r"when: (.+)", text))])
    assert len(texts) > 2
    for name, text in texts.items():
        assert not [word for _, kind, word in jinja.lex(text) if kind == "float"], name
    assert [kind for _, kind, _ in jinja.lex("{{ 0.5 }}") if kind == "float"]
