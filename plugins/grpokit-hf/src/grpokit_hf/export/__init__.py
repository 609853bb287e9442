"""Weights for others: written, then read back from the disk and proved.

weights    export_weights: the stages in their order
source     base model, policy and tokenizer of a run
write      a merged model folder, or a PEFT adapter
words      tokenizer files with the end of turn, padding and template that training used
gguf       one GGUF file of a merged model; gguf_words: its tokenizer
proof      what the models say, measured on what was written; verdict: whether that is enough
"""
