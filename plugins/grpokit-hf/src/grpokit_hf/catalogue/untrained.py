"""A model that knows nothing: random weights and a token a byte, made in a second from a seed.

It is for trying whether parts fit together, as ``grpokit train RECIPE --smoke`` does. Because a byte is a
token, every text can be its completion, whatever the language. It reads as many tokens as any question of
a real data set has in bytes; positions cost no weights.
"""

from __future__ import annotations

from pathlib import Path

from grpokit_hf.catalogue.tiny import SHAPE, SPECIAL, one_thread, write_model, write_tokenizer

__all__ = ["bring"]

SEED = 1
LONGEST = 131_072
SPREAD = 0.2
"""Standard deviation of the weights: large enough for the likeliest token to be clear."""


def bring(cache: Path) -> Path:
    """Makes ``tiny-random`` in ``cache`` and returns its folder."""
    import torch
    from tokenizers import Tokenizer, decoders, models, pre_tokenizers
    from transformers import LlamaConfig, LlamaForCausalLM

    letters = sorted(pre_tokenizers.ByteLevel.alphabet())
    vocabulary = {token: number for number, token in enumerate((*SPECIAL, *letters))}
    tokenizer = Tokenizer(models.BPE(vocabulary, merges=[]))
    tokenizer.pre_tokenizer = pre_tokenizers.ByteLevel(add_prefix_space=False, use_regex=False)
    tokenizer.decoder = decoders.ByteLevel()

    changed = {
        "vocab_size": len(vocabulary),
        "max_position_embeddings": LONGEST,
        "initializer_range": SPREAD,
    }
    config = LlamaConfig(
        **{**SHAPE, **changed}, architectures=["LlamaForCausalLM"], dtype="float32"
    )
    with one_thread(), torch.random.fork_rng(devices=[]):
        torch.manual_seed(SEED)
        model = LlamaForCausalLM(config)
    folder = write_model(cache, model)
    write_tokenizer(folder, tokenizer, longest=LONGEST)
    return folder
