"""Maths: data sets, prompt templates, a verifier and the published rewards.

hooks      what the plugin registers
datasets/  GSM8K, MATH, MATH-500, AIME and AMC, with their reference answers checked
templates/ published prompts, word for word
recipes/   ready runs
extract/   where the answer of a completion stands, by a declared chain
verify/    whether an answer equals the reference answer
rewards/   the rewards, and what they say about themselves
"""
