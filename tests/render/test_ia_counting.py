"""What the meter of IA Interne reads of an exchange: the model of a question, the tokens and the end of an answer."""

import importlib.util
import json
from pathlib import Path

import pytest

SOURCE = Path(__file__).parents[2] / "templates/services/ia-meter/counting.py"


@pytest.fixture(scope="module")
def counting():
    """The program's own module; it is in a container's folder and in no package."""
    spec = importlib.util.spec_from_file_location("ia_meter_counting", SOURCE)
    module = importlib.util.module_from_spec(spec)
    spec.loader.exec_module(module)
    return module


QUESTIONS = {
    "first": ('{"model":"mistral:7b","messages":[]}', "mistral:7b"),
    "last, with blanks": (
        '{"messages": [{"role": "user", "content": "x"}], "model" : "hf.co/a/b:Q4_K_M" }',
        "hf.co/a/b:Q4_K_M",
    ),
    "in a question": ('{"messages":[{"content":"\\"model\\":\\"evil\\", {[\\\\"}],"model":"real:1b"}', "real:1b"),
    "deeper": ('{"tools":[{"model":"evil"}],"options":{"model":"evil"},"model":"real:1b"}', "real:1b"),
    "as a value": ('{"input":"model","x":"evil","model":"real:1b"}', "real:1b"),
    "an escape in its key": ('{"mod\\u0065l":"x","model":"real:1b"}', "real:1b"),
    "no name": ('{"model":"a\\nb"}', ""),
    "too long": ('{"model":"' + "a" * 300 + '"}', ""),
    "a number": ('{"model":3,"prompt":"x"}', ""),
    "none": ('{"prompt":"x"}', ""),
    "no object": ('["model","x"]', ""),
    "broken": ('{"model', ""),
}


@pytest.mark.parametrize("case", QUESTIONS)
@pytest.mark.parametrize("size", [1, 2, 7, 100_000])
def test_the_model_is_the_questions_own_member_however_it_is_cut(case, size, counting):
    """What a caller writes in a message, a tool or an option is not it; only what can be a name is."""
    text, model = QUESTIONS[case]
    asked = counting.Asked()
    for at in range(0, len(text), size):
        asked.feed(text[at : at + size].encode())
    assert asked.model == model


def test_a_question_that_is_all_brackets_is_given_up(counting):
    """After so many steps; the others' requests wait for the same loop."""
    asked = counting.Asked()
    asked.feed(b"[" * 1_000_000)
    assert asked.done
    assert asked.steps == asked.STEPS + 1


def answer(counting, *pieces):
    found = counting.Answer()
    for piece in pieces:
        found.feed(piece if isinstance(piece, bytes) else piece.encode())
    return found


def ndjson(*records):
    return [json.dumps(each) + "\n" for each in records]


def sse(*records):
    return [f"data: {each if isinstance(each, str) else json.dumps(each)}\n\n" for each in records]


LINES, EVENTS = "application/x-ndjson", "text/event-stream; charset=utf-8"
SAID = {"model": "a:1b", "message": {"content": 'a word "eval_count":99 and'}, "done": False}
DELTA = {"model": "a:1b", "choices": [{"delta": {"content": '"completion_tokens":99'}}]}
END = {"choices": [{"delta": {}, "finish_reason": "stop"}]}
USAGE = {"choices": [], "usage": {"prompt_tokens": 5, "total_tokens": 8, "completion_tokens": 3}}
DONE = {"model": "a:1b", "done": True, "prompt_eval_count": 7, "eval_count": 3}

ANSWERS = {
    "Ollama's": (ndjson(SAID, SAID, SAID, DONE), LINES, (7, 3, True)),
    "Ollama's, prompt known already": (ndjson(SAID, {"done": True, "eval_count": 3}), LINES, (0, 3, True)),
    "Ollama's at once, after a long context": (
        [json.dumps({"context": list(range(20_000)), "prompt_eval_count": 7, "eval_count": 3})],
        "application/json",
        (7, 3, True),
    ),
    "the caller left": (ndjson(SAID, SAID), LINES, (0, 2, False)),
    "OpenAI's with usage": (sse(DELTA, DELTA, END, USAGE, "[DONE]"), EVENTS, (5, 3, True)),
    "OpenAI's without": (sse(DELTA, DELTA, DELTA, END, "[DONE]"), EVENTS, (0, 3, False)),
    "OpenAI's, the caller left": (sse(DELTA, DELTA), EVENTS, (0, 2, False)),
    "embeddings": (
        [json.dumps({"data": [0.5] * 9000, "usage": {"prompt_tokens": 4}})],
        "application/json",
        (4, 0, True),
    ),
    "none": ([json.dumps({"embedding": [0.5]})], "application/json", (0, 0, False)),
}


@pytest.mark.parametrize("case", ANSWERS)
@pytest.mark.parametrize("size", [1, 50, 1_000_000])
def test_tokens_are_the_engines_and_else_the_pieces_that_came(case, size, counting):
    """What a model says about tokens is not counted; a count that is not the engine's own is marked."""
    pieces, kind, expected = ANSWERS[case]
    text = "".join(pieces)
    found = answer(counting, *(text[at : at + size] for at in range(0, len(text), size)))
    assert found.tokens(kind) == expected
    assert not found.failed()


@pytest.mark.parametrize(
    "pieces",
    [
        ndjson(SAID, {"error": "an error was encountered while running the model"}),
        sse(DELTA, {"error": {"message": "out of memory"}}, "[DONE]"),
        ndjson({"error": "at once"}),
    ],
)
def test_an_error_late_in_an_answer_of_200_is_one(pieces, counting):
    """And a model that talks of errors makes none."""
    assert answer(counting, *pieces).failed()
    talk = {**SAID, "message": {"content": '\n{"error": "no"}\ndata: {"error": 1}'}}
    assert not answer(counting, *ndjson(talk, DONE)).failed()


FRAMED = b"5;x=y\r\nhello\r\n6\r\n world\r\n0\r\nTrailer: x\r\n\r\n"


@pytest.mark.parametrize("size", [1, 2, 3, 100])
def test_frames_are_taken_off_and_the_end_is_seen(size, counting):
    """Chunked, by its length, or by the connection's end; not before."""
    framing = counting.Framing({"transfer-encoding": "chunked"})
    found = b""
    for at in range(0, len(FRAMED), size):
        assert not framing.ended
        found += framing.feed(FRAMED[at : at + size])
    assert (found, framing.ended) == (b"hello world", True)
    measured = counting.Framing({"content-length": "5"})
    assert (measured.feed(b"hel"), measured.ended, measured.feed(b"lo"), measured.ended) == (b"hel", False, b"lo", True)
    assert counting.Framing({"content-length": "0"}).ended
    endless = counting.Framing({})
    assert (endless.feed(b"x" * 99), endless.ended) == (b"x" * 99, False)


def test_frames_that_are_none_are_refused(counting):
    """Also one that never ends."""
    for broken in (b"zz\r\n", b"-5\r\n", b"1" * 70_000):
        with pytest.raises(ValueError, match=r"frame|invalid literal"):
            counting.Framing({"transfer-encoding": "chunked"}).feed(broken)
