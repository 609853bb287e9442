"""Code for the model card: how others load what was written."""

from __future__ import annotations

from grpokit.api import ExportRequest
from grpokit_hf.export.source import Source

__all__ = ["usage_of"]

ASK = """messages = {messages!r}
inputs = tokenizer.apply_chat_template(
    messages, add_generation_prompt=True, return_dict=True, return_tensors="pt"
)
answer = model.generate(**inputs, max_new_tokens=256, do_sample=False{stop})
print(tokenizer.decode(answer[0, inputs["input_ids"].shape[1] :], skip_special_tokens=True))
"""


def usage_of(request: ExportRequest, source: Source, loader: str) -> str:
    """Python for a folder, a command for a GGUF file. ``FOLDER`` stands for the place."""
    if request.form == "gguf":
        return f"llama-cli --jinja -m {request.name}.gguf\n"
    messages = [dict(message) for message in request.prompts[0]] if request.prompts else []
    if request.form == "merged":
        return (
            f"from transformers import AutoModelForCausalLM, {loader}\n\n"
            f'tokenizer = {loader}.from_pretrained("FOLDER")\n'
            'model = AutoModelForCausalLM.from_pretrained("FOLDER")\n'
            + ASK.format(messages=messages, stop="")
        )
    kind, name = source.located.kind, source.located.id
    base = name if kind == "hub" else "BASE_MODEL_FOLDER"
    where = {
        "hub": "",
        "catalogue": f"# BASE_MODEL_FOLDER: what `grpokit models pull {name}` prints\n",
        "folder": "# BASE_MODEL_FOLDER: the model that training began with\n",
    }
    return (
        f"{where[kind]}from peft import PeftModel\n"
        f"from transformers import AutoModelForCausalLM, {loader}\n\n"
        f'tokenizer = {loader}.from_pretrained("FOLDER")\n'
        f'model = AutoModelForCausalLM.from_pretrained("{base}")\n'
        'model = PeftModel.from_pretrained(model, "FOLDER")\n'
        + ASK.format(messages=messages, stop=", eos_token_id=tokenizer.eos_token_id")
    )
