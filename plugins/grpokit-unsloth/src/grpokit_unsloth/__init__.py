"""grpokit backend on Unsloth: its models and kernels, vLLM on the same weights, grpokit's own loop.

hooks      what is registered
config     settings of the backend
preflight  what is known of a recipe before torch is imported: packages, versions, GPU
start      imports Unsloth, silently and before the libraries that it changes; makes the backend
backend    UnslothBackend: hf's backend with another model and another sampler
load       model folder -> policy: FastLanguageModel
policy     hf's policy around Unsloth's model
adapter    LoRA from a recipe or a saved folder
forward    hidden states out of a model that Unsloth has changed
rollout    completions from vLLM, or from the model's own generate
bench      contestants of `grpokit bench step`
"""
