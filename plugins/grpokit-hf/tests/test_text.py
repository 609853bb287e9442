"""One way from messages to token ids, equal to transformers' own; wrong ends are found and repaired."""

from __future__ import annotations

import json
from pathlib import Path

import pytest
from jinja2 import TemplateError

from grpokit.api import PreflightError
from grpokit_hf.text.template import ChatTemplate
from grpokit_hf.text.tokenizer import ChatTokenizer
from tiny_model import CHATML, LLAMA

LLAMA3 = (
    "{%- set loop_messages = messages -%}{%- for message in loop_messages %}"
    "{%- set content = '<|im_start|>' + message['role'] + '\n\n' + message['content'] | trim + '<|im_end|>' %}"
    "{%- if loop.index0 == 0 %}{%- set content = bos_token + content %}{%- endif %}"
    "{{- content }}{%- endfor %}"
    "{%- if add_generation_prompt %}{{- '<|im_start|>assistant\n\n' }}{%- endif %}"
)
BLOCKS = """{# a comment #}
{% for message in messages %}
    {%- if message.role == 'system' %}
[S] {{ message.content | tojson }}
    {% else %}
[{{ message.role | upper }}]{% generation %}{{ message.content }}{% endgeneration %}<|im_end|>
    {% endif %}
    {% if loop.index > 50 %}{% break %}{% endif %}
{% endfor %}
{% if add_generation_prompt %}[ASSISTANT]{% endif %}"""

TALKS = (
    [{"role": "user", "content": "What is 2 + 3?"}],
    [
        {"role": "system", "content": 'Say "x" & <b>.'},
        {"role": "user", "content": "  spaces \n around  "},
        {"role": "assistant", "content": "5"},
        {"role": "user", "content": "again\n"},
    ],
)


@pytest.mark.parametrize("template", [CHATML, LLAMA, LLAMA3, BLOCKS])
@pytest.mark.parametrize("adds_bos", [False, True])
def test_renders_and_encodes_like_transformers(make_tiny_model, template: str, adds_bos: bool):
    from transformers import PreTrainedTokenizerFast

    folder = make_tiny_model(template=template, adds_bos=adds_bos)
    ours = ChatTokenizer(folder)
    theirs = PreTrainedTokenizerFast.from_pretrained(folder)
    for talk in TALKS:
        text = theirs.apply_chat_template(talk, add_generation_prompt=True, tokenize=False)
        ids = theirs.apply_chat_template(talk, add_generation_prompt=True, return_dict=True)
        assert ours.render(talk) == text
        assert list(ours.encode(talk)) == ids["input_ids"]
        assert ours.decode(ours.encode(talk)) == theirs.decode(
            ids["input_ids"], skip_special_tokens=True
        )


def test_beginning_of_sequence_is_there_once(make_tiny_model):
    ours = ChatTokenizer(make_tiny_model(template=LLAMA, adds_bos=True))
    assert ours.encode(TALKS[0]).count(1) == 1


@pytest.mark.parametrize("template", [CHATML, LLAMA3, LLAMA])
def test_a_right_tokenizer_needs_no_repair(make_tiny_model, template: str):
    ours = ChatTokenizer(make_tiny_model(template=template))
    assert ours.ends.main == 2
    assert ours.ends.ids == {2}
    assert ours.notes == ()


def test_an_end_that_opens_turns_is_replaced(make_tiny_model):
    """SmolLM2's GGUF gives eos = <|im_start|>; the template ends turns with <|im_end|>."""
    folder = make_tiny_model(eos="<|im_start|>")
    (folder / "generation_config.json").unlink()
    ours = ChatTokenizer(folder)
    assert ours.ends.main == 2
    assert ours.ends.ids == {2}
    text = " ".join(ours.notes)
    assert "<|im_start|> (id 1)" in text
    assert "<|im_end|> (id 2), which is used" in text


def test_declared_ends_stay_beside_the_turn_end(make_tiny_model):
    folder = make_tiny_model()
    (folder / "generation_config.json").write_text(json.dumps({"eos_token_id": [0, 2]}))
    assert ChatTokenizer(folder).ends.ids == {0, 2}


def test_a_base_tokenizer_with_another_end_is_told(make_tiny_model):
    ours = ChatTokenizer(make_tiny_model(eos="<|endoftext|>"))
    assert ours.ends.main == 2
    assert ours.ends.ids == {0, 2}
    assert "no file of the model names the end of a turn" in ours.notes[0]


def test_no_end_at_all_is_an_error_with_the_key_to_set(make_tiny_model):
    plain = "{% for m in messages %}{{ m.role }}: {{ m.content }}\n{% endfor %}"
    folder = make_tiny_model(eos=None, template=plain)
    with pytest.raises(PreflightError, match=r"model\.eos"):
        ChatTokenizer(folder)
    assert ChatTokenizer(folder, eos="<|im_end|>").ends.main == 2


def test_a_wanted_end_that_is_no_token_names_near_ones(tiny_model_folder: Path):
    with pytest.raises(PreflightError, match=r"<\|im_end\|>"):
        ChatTokenizer(tiny_model_folder, eos="<|imend|>")


def test_a_missing_template_is_an_error_and_a_file_replaces_it(make_tiny_model, tmp_path: Path):
    folder = make_tiny_model(template=None)
    with pytest.raises(PreflightError, match="no chat template"):
        ChatTokenizer(folder)
    path = tmp_path / "mine.jinja"
    path.write_text(CHATML)
    ours = ChatTokenizer(folder, chat_template=str(path))
    assert ours.render(TALKS[0]).startswith("<|im_start|>user")
    with pytest.raises(PreflightError, match="cannot be read"):
        ChatTokenizer(folder, chat_template=str(tmp_path / "none.jinja"))


@pytest.mark.parametrize(
    ("template", "words"),
    [
        ("{% for %}", "does not compile"),
        ("{{ raise_exception('no system role') }}", "no system role"),
        ("{{ messages.append(1) }}", "refuses a conversation"),
        ("{{ ''.__class__.__mro__[1].__subclasses__() }}", "refuses a conversation"),
    ],
)
def test_a_bad_or_hostile_template_is_refused(make_tiny_model, template: str, words: str):
    with pytest.raises(PreflightError, match=words):
        ChatTokenizer(make_tiny_model(template=template))


def test_a_missing_pad_token_is_chosen(make_tiny_model):
    ours = ChatTokenizer(make_tiny_model(pad=None))
    assert ours.pad_id == 3
    assert "no pad token" in ours.notes[0]


def test_a_date_in_the_prompt_does_not_change_overnight(make_tiny_model):
    ours = ChatTokenizer(make_tiny_model(template="{{ strftime_now('%d %b %Y') }} " + CHATML))
    assert ours.render(TALKS[0]).startswith("26 Jul 2024 ")
    assert any("date" in note for note in ours.notes)


@pytest.mark.parametrize("where", ["list", "json"])
def test_older_places_of_a_template(make_tiny_model, where: str):
    folder = make_tiny_model(template=None)
    path = folder / "tokenizer_config.json"
    if where == "list":
        stored = [{"name": "default", "template": CHATML}, {"name": "tools", "template": "x"}]
        path.write_text(json.dumps({**json.loads(path.read_text()), "chat_template": stored}))
    else:
        (folder / "chat_template.json").write_text(json.dumps({"chat_template": CHATML}))
    assert ChatTokenizer(folder).ends.main == 2


def test_templates_of_many_models_render_like_transformers(make_tiny_model):
    """TRL carries the templates of the usual model families; text-only talks go through each."""
    trl = pytest.importorskip("trl")
    from transformers import PreTrainedTokenizerFast

    folder = make_tiny_model()
    theirs = PreTrainedTokenizerFast.from_pretrained(folder)
    equal = []
    for path in sorted((Path(trl.__file__).parent / "chat_templates").glob("*.jinja")):
        source = path.read_text(encoding="utf-8")
        if "strftime_now" in source:  # ours is a fixed date on purpose
            continue
        ours = ChatTemplate(
            source,
            {
                "bos_token": "<|im_start|>",
                "eos_token": "<|im_end|>",
                "unk_token": "<unk>",
                "pad_token": "<|endoftext|>",
            },
            path.name,
        )
        for talk in TALKS:
            try:
                text = theirs.apply_chat_template(
                    talk, chat_template=source, add_generation_prompt=True, tokenize=False
                )
            except (TemplateError, TypeError, ValueError, KeyError):  # so must we refuse
                with pytest.raises(PreflightError):
                    ours.render(talk)
                continue
            assert ours.render(talk) == text, path.name
            equal.append(path.stem)
    assert {"qwen3", "qwen2_5", "llama3", "gemma", "deepseekv3"} <= set(equal)
