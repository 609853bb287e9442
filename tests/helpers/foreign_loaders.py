"""Rewards through the real loader code of other trainers, each in a process with its packages.

A script reads ``{"cases": [[text, answer], ...], "names": [...], "file": ...}`` from its arguments and
prints, for each name, the score of each case; null where the trainer was told that there is none.
"""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

from exported import ROOT, python

HEAD = """
import importlib, json, os, pathlib, sys, types, warnings
warnings.simplefilter("ignore")
asked = json.loads(sys.argv[1])
cases, names = asked["cases"], asked["names"]
texts, answers = [text for text, _ in cases], [answer for _, answer in cases]

def tell(found):
    print(json.dumps(found))
    sys.stdout.flush()
    os._exit(0)  # some of them leave threads behind
"""

# The script behind `trl grpo`: it finds the rewards by their dotted paths and trains two steps with
# them; then the functions that its trainer was given score the cases.
TRL = """
import trl
import trl.scripts.grpo as script
given = {}
class Watched(trl.GRPOTrainer):
    def __init__(self, *args, **kwargs):
        super().__init__(*args, **kwargs)
        given["trainer"] = self
trl.GRPOTrainer = Watched
os.mkdir("rows")
with open("rows/train.jsonl", "w") as file:
    file.writelines(json.dumps({"prompt": f"{n} + 1 =", "answer": str(n + 1)}) + "\\n" for n in range(8))
arguments = [
    "--model_name_or_path", asked["model"], "--dataset_name", "rows", "--output_dir", "out",
    "--reward_funcs", *(f"grpokit.interop.trl.{name}" for name in names), "--max_steps", "2",
    "--per_device_train_batch_size", "4", "--num_generations", "4", "--max_completion_length", "4",
    "--report_to", "none", "--use_cpu", "--bf16", "False", "--gradient_checkpointing", "False",
    "--disable_tqdm", "True", "--logging_steps", "1", "--dtype", "float32", "--save_strategy", "no",
]
script.main(*script.make_parser().parse_args_and_config(arguments))
trainer = given["trainer"]
assert trainer.state.global_step == 2
functions = trainer.reward_funcs
assert [each.__name__ for each in functions] == [each.rpartition("reward_")[2] for each in names]
logged = trainer.state.log_history[0]
assert all(f"rewards/{each.__name__}/mean" in logged for each in functions), logged
def scored(function):
    chat = [[{"role": "assistant", "content": text}] for text in texts]
    prompts = [[{"role": "user", "content": "q"}]] * len(texts)
    return function(prompts=prompts, completions=chat, completion_ids=[[1]] * len(texts), answer=answers)
tell(dict(zip(names, map(scored, functions))))
"""

AXOLOTL = """
import axolotl
home = pathlib.Path(list(axolotl.__path__)[0])
package = types.ModuleType("axolotl.core.trainers")
package.__path__ = [str(home / "core" / "trainers")]
sys.modules[package.__name__] = package
for name, classes in {
    "args": ("AxolotlAsyncGRPOConfig", "AxolotlGRPOConfig"),
    "trainer": ("AxolotlAsyncGRPOTrainer", "AxolotlGRPOSequenceParallelTrainer", "AxolotlGRPOTrainer"),
}.items():
    module = types.ModuleType(f"axolotl.core.trainers.grpo.{name}")
    for each in classes:
        setattr(module, each, type(each, (), {}))
    sys.modules[module.__name__] = module
from axolotl.core.trainers.grpo import GRPOStrategy
def scored(name):
    function = GRPOStrategy.get_reward_func(f"grpokit.interop.axolotl.{name}")
    chat = [[{"role": "assistant", "content": text}] for text in texts]
    prompts = [[{"role": "user", "content": "q"}]] * len(texts)
    return function(prompts=prompts, completions=chat, completion_ids=[[1]] * len(texts), answer=answers)
try:  # ModuleNotFoundError would be taken for the name of a model
    GRPOStrategy.get_reward_func("grpokit.interop.axolotl.nobody_has_this")
except AttributeError as error:
    assert "no installed reward is called 'nobody_has_this'" in str(error), error
tell({name: scored(name) for name in names})
"""

# Its reward manager as its reward workers call it, all completions at the same time, with rows as its
# own data preparation writes them.
VERL = """
import asyncio
import numpy as np, torch
from omegaconf import OmegaConf
from tokenizers import Tokenizer, decoders, models, pre_tokenizers
from transformers import PreTrainedTokenizerFast
from verl import DataProto
from verl.experimental.reward_loop.reward_manager.naive import NaiveRewardManager
from verl.trainer.ppo.reward import get_custom_reward_fn
letters = {letter: i for i, letter in enumerate(sorted(pre_tokenizers.ByteLevel.alphabet()))}
bytewise = Tokenizer(models.BPE(vocab=letters, merges=[]))
bytewise.pre_tokenizer = pre_tokenizers.ByteLevel(add_prefix_space=False, use_regex=False)
bytewise.decoder = decoders.ByteLevel()
tokenizer = PreTrainedTokenizerFast(tokenizer_object=bytewise, clean_up_tokenization_spaces=False)
def asked_of(text, answer):
    ids = tokenizer(text, add_special_tokens=False, return_tensors="pt")["input_ids"]
    tensors = {"prompts": torch.ones(1, 2, dtype=torch.long), "responses": ids,
               "attention_mask": torch.ones(1, 2 + ids.shape[1], dtype=torch.long)}
    extra = {"split": "train", "index": 0, "question": "q", "answer": f"So it is 5.\\n#### {answer}0"}
    row = {"data_source": "openai/gsm8k", "extra_info": extra, "uid": "u",
           "reward_model": {"style": "rule", "ground_truth": answer}}
    plain = {key: np.array([value], dtype=object) for key, value in row.items()}
    return DataProto.from_dict(tensors=tensors, non_tensors=plain)
def read(result):
    if isinstance(result, Exception):
        assert "no reward applies" in str(result), result
        return None
    return result["reward_score"]
def scored(name):
    function = {"path": "pkg://grpokit.interop.verl", "name": name}
    config = OmegaConf.create({"reward": {"custom_reward_function": function}})
    manager = NaiveRewardManager(config, tokenizer, get_custom_reward_fn(config))
    async def every():
        calls = [manager.run_single(asked_of(text, answer)) for text, answer in cases]
        return await asyncio.gather(*calls, return_exceptions=True)
    return [read(each) for each in manager.loop.run_until_complete(every())]
tell({name: scored(name) for name in names})
"""

# Sandboxes of another service, which scoring never touches.
ABSENT = """
import sys, types
import importlib.abc, importlib.machinery
class Absent(importlib.abc.MetaPathFinder, importlib.abc.Loader):
    def find_spec(self, name, path=None, target=None):
        if name.partition(".")[0] in ("prime_sandboxes", "prime_tunnel", "prime_runs", "gepa", "mcp"):
            return importlib.machinery.ModuleSpec(name, self, is_package=True)
    def create_module(self, spec):
        module = types.ModuleType(spec.name)
        module.__path__ = []
        def attribute(name):
            if name.startswith("__"):
                raise AttributeError(name)
            return type(name, (Exception,), {})
        module.__getattr__ = attribute
        return module
    def exec_module(self, module):
        pass
sys.meta_path.insert(0, Absent())
"""
VERIFIERS = """
import asyncio
from verifiers.v1.configs.agent import AgentConfig
from verifiers.v1.configs.task import TaskConfig
from verifiers.v1.errors import TaskError
from verifiers.v1.graph import MessageNode
from verifiers.v1.task import Task, WireTaskData
from verifiers.v1.trace import AgentInfo, Trace, TraceTask
from verifiers.v1.types import AssistantMessage, UserMessage
def one(path, text, answer):
    data = WireTaskData(prompt="q", answer=answer)
    task = Task(data, TaskConfig(rewards={"plugged": {"fn": path, "weight": 1.0}}))
    said = [MessageNode(message=UserMessage(content="q")),
            MessageNode(parent=0, sampled=True, message=AssistantMessage(content=text))]
    trace = Trace(task=TraceTask(type="t", data=data), agent=AgentInfo(config=AgentConfig()), nodes=said)
    try:
        asyncio.run(task.score(trace))
    except TaskError as error:
        return f"TaskError: {error}"
    return trace.reward if trace.rewards else None
def scored(name):
    return [one(f"grpokit.interop.verifiers:{name}", text, answer) for text, answer in cases]
found = {name: scored(name) for name in names}
if asked.get("file"):
    found["file"] = [one(asked["file"], text, answer) for text, answer in cases]
tell(found)
"""

# Its executor and its batches, past the __init__ files that import DeepSpeed. The engine and the
# tokenizer are ours: characters are tokens.
OPENRLHF = """
import asyncio
home = pathlib.Path(sys.path[next(i for i, p in enumerate(sys.path) if p.endswith("openrlhf"))], "openrlhf")
parts = ("utils", "trainer", "trainer.ppo_utils")
for name, path in (("openrlhf", home), *((f"openrlhf.{p}", home / p.replace(".", "/")) for p in parts)):
    package = types.ModuleType(name)
    package.__path__ = [str(path)]
    sys.modules[name] = package
from openrlhf.utils.agent import SingleTurnAgentExecutor
class Tokenizer:
    def __call__(self, text, **_):
        import torch
        return {"input_ids": torch.tensor([[ord(c) for c in text]])}
    def decode(self, ids, **_):
        return "".join(map(chr, ids))
class Engine:
    def __init__(self, text):
        ids = [ord(c) for c in text + "<|im_end|>"]
        self.output = types.SimpleNamespace(token_ids=ids, finish_reason="stop", logprobs=None)
    async def generate(self, ids, params, multi_modal_data=None):
        return types.SimpleNamespace(outputs=[self.output])
params = types.SimpleNamespace(max_tokens=1000, logprobs=None)
def run(executor, text, answer):
    prompt = "<|im_start|>user\\nq<|im_end|>\\n<|im_start|>assistant\\n"
    return asyncio.run(executor.execute(prompt, answer, params, 4000, Tokenizer(), Engine(text)))
def scored(name):
    executor = SingleTurnAgentExecutor([asked["files"][name]])
    return [run(executor, text, answer)["reward"] for text, answer in cases]
found = {name: scored(name) for name in names}

# What is logged beside the scores goes through the trainer's batches, which want equal keys.
import torch
from grpokit.interop.openrlhf import reward_func
from grpokit.interop.rewards import Rewards
from openrlhf.trainer.ppo_utils.experience import (
    Experience, make_experience_batch, split_experience_batch,
)
executor = SingleTurnAgentExecutor([asked["files"][names[0]]])
executor.reward_func = reward_func(Rewards([{"use": "number"}, {"use": "example-reward/distinct"}]))
def sample(text, answer):
    told = run(executor, text, answer)
    info = {name: torch.tensor([value]) for name, value in told["extra_logs"].items()}
    return Experience(sequences=torch.ones(1, 3), rewards=torch.tensor([told["reward"]]), info=info)
samples = [sample(text, answer) for text, answer in cases]
batch = Experience.concat_experiences(samples, 0)
batch = make_experience_batch(split_experience_batch(batch))
assert len(batch.info["reward/distinct"]) == len(batch.rewards) == len(cases)
tell(found)
"""

SCRIPTS = {
    "trl": HEAD + TRL,
    "axolotl": HEAD + AXOLOTL,
    "verl": HEAD + VERL,
    "verifiers": HEAD + ABSENT + VERIFIERS,
    "openrlhf": HEAD + OPENRLHF,
}


def installed(target: str) -> bool:
    """Whether the folder of its requirements file is there."""
    return target == "trl" or (ROOT / ".venv" / target).exists()


def scores(target: str, asked: dict[str, Any], cwd: Path) -> dict[str, list[Any]]:
    """Name -> scores of the cases, as this trainer sees them."""
    found: dict[str, list[Any]] = python(
        *([] if target == "trl" else [f".venv/{target}"]),
        script=SCRIPTS[target],
        arguments=(json.dumps(asked),),
        cwd=cwd,
    )
    return found
