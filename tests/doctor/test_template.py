"""What stands between turns, for templates of several kinds."""

import pytest

from grpokit.doctor.template import look_at_turns
from grpokit.errors import PreflightError


def chatml(messages, *, opening="<|im_start|>assistant\n"):
    text = "".join(f"<|im_start|>{m['role']}\n{m['content']}<|im_end|>\n" for m in messages)
    return text + opening


def test_a_usual_template():
    turns = look_at_turns(chatml)
    assert turns.works
    assert turns.same
    assert turns.opening == "<|im_end|>\n<|im_start|>assistant\n"
    assert turns.closing == "<|im_end|>\n<|im_start|>user\n"


def test_a_template_that_makes_the_model_think():
    turns = look_at_turns(lambda m: chatml(m, opening="<|im_start|>assistant\n<think>\n"))
    assert turns.works
    assert not turns.same


def test_a_template_without_a_generation_prompt():
    """The model would go on with the user's turn."""
    turns = look_at_turns(lambda m: " ".join(each["content"] for each in m))
    assert not turns.works


@pytest.mark.parametrize(
    ("render", "problem"),
    [
        (lambda m: "constant", "changes or drops the question"),
        (lambda m: chatml([e for e in m if e["role"] == "user"]), "drops an assistant's"),
    ],
)
def test_a_template_that_loses_text(render, problem):
    turns = look_at_turns(render)
    assert problem in turns.problem
    assert not turns.works


def test_a_template_that_refuses():
    def render(messages):
        raise PreflightError("roles must alternate", place="template")

    assert "roles must alternate" in look_at_turns(render).problem
