"""What is made of a host's measurements."""

import pytest

from otobotctl.cli.human import gpu as human
from otobotctl.errors import StepFailedError
from otobotctl.workflows.gpu.bench import measured


def row(callers, *, model="mistral:7b", tokens=128, seconds=2.0, first_s=(0.1,), failed=0, error=""):
    said = {"model": model, "callers": callers, "tokens": tokens * max(callers, 1), "seconds": seconds}
    return {**said, "first_s": list(first_s), "failed": failed, "error": error}


def test_speeds_are_of_all_and_of_each_caller():
    """And the waits of half of them and of the last."""
    found = measured("gpu-1", 128, [row(0, seconds=7.5), row(1), row(4, seconds=4.0, first_s=(0.1, 0.2, 0.3, 0.9))])
    one, four = found.speeds
    assert (one.tokens_s, one.each_tokens_s, one.first_s, one.first_most_s) == (64.0, 64.0, 0.1, 0.1)
    assert (four.tokens_s, four.each_tokens_s, four.first_s, four.first_most_s) == (128.0, 32.0, 0.2, 0.9)
    assert found.load_s == {"mistral:7b": 7.5}
    shown = human.bench(found)
    assert "128.0" in shown
    assert "mistral:7b 7.50 s" in shown


def test_a_model_that_cannot_answer_is_told_and_the_others_are_measured():
    """No model at all is an error."""
    broken = row(0, model="gone:1b", tokens=0, first_s=(), failed=1, error="model 'gone:1b' not found")
    found = measured("gpu-1", 128, [row(0), row(1), broken])
    assert found.warnings == ("gone:1b: model 'gone:1b' not found",)
    assert [each.model for each in found.speeds] == ["mistral:7b"]
    with pytest.raises(StepFailedError) as raised:
        measured("gpu-1", 128, [broken])
    assert raised.value.details == ("gone:1b: model 'gone:1b' not found",)


def test_callers_that_got_no_whole_answer_are_counted():
    """Their tokens count as far as they came; a row without any first token has no wait."""
    found = measured("gpu-1", 128, [row(0), row(16, tokens=0, first_s=(), failed=16, error="answers 503")])
    assert (found.speeds[0].failed, found.speeds[0].first_s, found.speeds[0].tokens_s) == (16, None, 0.0)
    assert "16 callers: answers 503" in found.warnings[0]
