"""Torch parts of the backend, each usable and tested alone.

attention  attention in float32 for bfloat16 models on CPUs, and masks for every kernel
flex       attention over a packed sequence on GPUs: torch's flex attention with the pack's block mask; flex_check
lora       PEFT's LoRA layers with fewer passes over memory, same parameters
keys       keys and values: fixed buffers for sampling, a shared prefix with gradients for training
pick       the next token of each row: temperature, top-k, top-p, min-p, inverse CDF
decode     sampling: one prefill a prompt, finished rows leave the batch
batch      rows -> padded micro-batches
forward    hidden states of completion tokens, with or without a shared prefix
"""
