"""What a stranger's backend says about memory reaches the plan: packed weights, an engine, processes."""

import json
import os

import pytest

from dists import grpokit, install

GIB = 2**30
HOOKS = """
from grpokit.api import BackendSpec, hookimpl

@hookimpl
def grpokit_backends():
    return [BackendSpec(name="abacus", summary="A backend.", target="json:dumps",
                        preflight="beads.preflights:look", provides=frozenset(
                            {"logprobs", "custom-loss", "lora", "distributed", "seeded-rows"}))]
"""
PREFLIGHT = """
import os
from grpokit.api import PACKED_4BIT, MemoryFacts, Preflight, SamplerMemory

SIZES = {"vocab_size": 128256, "hidden_size": 4096, "num_hidden_layers": 32,
         "num_attention_heads": 32, "num_key_value_heads": 8, "intermediate_size": 14336}

def look(recipe):
    share = float(os.environ["BEADS_SHARE"])
    sampler = SamplerMemory(share=share, same_weights=True)
    return Preflight(device=os.environ["BEADS_DEVICE"], dimensions=SIZES,
                     memory=MemoryFacts(packed=PACKED_4BIT, sampler=sampler))
"""
TOOL = """#!/bin/sh
case "$*" in
  *memory.free,memory.total*) echo "7000, 8192" ;;
  *) exit 1 ;;
esac
"""


@pytest.fixture
def plan(tmp_path):
    install(tmp_path, "beads", HOOKS, files={"preflights.py": PREFLIGHT})
    tool = tmp_path / "nvidia-smi"
    tool.write_text(TOOL)
    tool.chmod(0o755)

    def run(*changes, share=0.5, device="cuda (Test)"):
        done = grpokit(
            "plan",
            "quickstart",
            "--json",
            "--set=backend.use=beads/abacus",
            "--set=optim.micro_batch=1",
            *(f"--set={change}" for change in changes),
            path=tmp_path,
            env={
                "HF_HUB_OFFLINE": "1",
                "PATH": f"{tmp_path}{os.pathsep}{os.environ['PATH']}",
                "BEADS_SHARE": str(share),
                "BEADS_DEVICE": device,
            },
        )
        found = json.loads(done.stdout)
        short = [each for each in found["findings"] if each["code"] == "P208"]
        return found["memory"], [f"{each['fact']}; {each['remedy']}" for each in short]

    return run


def test_an_engine_takes_its_share_of_the_whole_gpu(plan):
    memory, short = plan(share=0.9)
    parts = memory["parts"]
    assert memory["available"] == 7000 * 2**20
    assert parts["weights"] + parts["engine"] == int(0.9 * 8 * GIB)
    assert parts["kv_cache"] == 0
    assert {"activations", "gradients"} <= set(memory["training"])
    (said,) = short  # 7.2 GiB and the update are more than 6.8 GiB
    assert "6.84 GiB are free" in said
    assert "a smaller share for the engine" in said


def test_a_share_that_is_too_small_is_said_before_the_engine_fails(plan):
    _, short = plan(share=0.5)
    (said,) = [each for each in short if "for the engine" in each and "share" in each]
    assert "50% of 8.00 GiB is 4.00 GiB for the engine" in said
    assert "a larger share in backend.with" in said


def test_processes_on_a_cpu_share_one_memory(plan):
    """One process of an 8-billion model in 4 bits fits where a thousand do not."""
    memory, _ = plan(device="cpu (2 cores)")
    _, short = plan("train.processes=1000", "rollout.prompts=1000", device="cpu (2 cores)")
    (said,) = short
    needed = float(said.partition("about ")[2].split()[0])
    assert needed * GIB > 900 * memory["parts"]["weights"]
