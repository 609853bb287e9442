"""The backend ``trl``: TRL's GRPOTrainer holds the model, grpokit's algorithm decides the step.

hooks      what is registered
config     settings of the backend; keys: what GRPOConfig knows, and where a recipe says it
preflight  what is known of a recipe before torch is imported
compat     which TRL is installed, and whether its seams are where they are expected
backend    TrlBackend: the LoopBackend contract; joins what follows
arguments  recipe -> GRPOConfig; launch: an `accelerate` configuration -> environment
load       model folder -> model with adapter, tokenizer
trainer    GRPOTrainer with the recipe's step in place of its own
driver     the steps of a run: begin, train, end
work       one rollout batch -> optimiser steps
rows       rows -> tensors, and which process trains which
agree      processes tell each other how it went, and sum their gradients
drawing    prompts -> completions; handover: an adapter's weights -> vLLM
reference  what the policy is held to, and what begins anew
state      policy and training state on disk; moments: those of AdamW
bench      TRL's own trainer as a contestant of `grpokit bench step`; bench_trainer: with a watch in its hand
"""
