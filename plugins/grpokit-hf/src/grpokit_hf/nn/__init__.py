"""Torch parts of the backend, each usable and tested alone.

attention         the kernels that a model calls: float32 on CPUs, and masks for every kernel
packed_attention  a packed sequence, with gradients; tiles: its blocks by torch's kernel for CPUs
decode_attention  the next token of a sampling batch
flex              a packed sequence on GPUs: torch's flex attention with the pack's block mask; flex_check
pack              rows -> one sequence without padding, and who continues whom; tree: what stands where in it
batch             rows -> micro-batches, and padded tensors
head              hidden states -> logits; native_head: -> log-probs, in C with AMX tiles
forward           hidden states and log-probs of completion tokens, from a pack or from padded rows
products          matrix products by torch and by oneDNN; amx: by tiles of Intel's processors; multiplier: who does it
linear            a linear layer with its adapter as one step of autograd; lora: puts it into PEFT's layers
decode            sampling: one prefill a prompt; rows: what each has drawn, finished ones leave the batch
token             the next token of every row where layers are known; stack: their products as one
native            the same in C, a token in one call; packed_native: attention of a packed sequence in C
pointwise         what lies between the products of a layer in C: norms, rotation, SwiGLU
caches            what a sampling batch feeds and keeps, in three forms; keys: the layers of those caches
pick              the next token of each row: temperature, top-k, top-p, min-p, inverse CDF
"""
