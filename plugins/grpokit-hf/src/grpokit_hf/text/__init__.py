"""From chat messages to token ids and back, without torch. Training, evaluation and plan share it.

template   the sandboxed Jinja environment that chat templates expect
tokenizer  ChatTokenizer: render, encode, decode, the ids that end a turn
ends       what ends a turn, found by rendering one, and repaired where the tokenizer is wrong
"""
