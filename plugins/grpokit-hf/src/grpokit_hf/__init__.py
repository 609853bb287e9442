"""grpokit backend on transformers and peft, with hub data sets and catalogued models.

hooks      what is registered
config     settings of the backend
preflight  what is known of a recipe before torch is imported
machine    versions, GPU, cores, whether the hub answers (no torch)
locate     model.id -> folder: catalogued name, local folder, hub id (no torch)
text/      chat template, tokenizer, what ends a turn (no torch)
catalogue/ catalogued models and how their weights come here
backend    HfBackend: the StepBackend contract; joins what follows
load       model folder -> Policy: weights, adapter, attention kernel
adapter    LoRA as PEFT wraps it
groups     rows of a rollout, and groups of it that are complete before the rest
kernels    which attention kernel a model gets (no torch)
window     prompt and completion within the model's positions
vllm/      completions sampled by vLLM
nn/        tensor parts: attention, LoRA, keys, sampling, batches, log-probs
update     rows -> optimiser steps; job: what it is given; inputs: a micro-batch as the algorithm sees it
parallel   several processes: their parts of the rows, agreement, DDP; shards: FSDP2
reset      policy or reference begin anew
optim      AdamW and learning-rate schedules
state      policy and training state on disk
export/    weights for others: merged, adapter, GGUF; read back and proved
weights    a hash that names a model's weights
hub        the `hub` data set
bench/     contestants of `grpokit bench step`
"""
