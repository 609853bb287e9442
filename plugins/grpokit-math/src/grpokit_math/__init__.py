"""Maths: data sets, prompt templates, a verifier and the published rewards.

hooks      what the plugin registers
extract/   where the answer of a completion stands, by a declared chain
verify/    whether an answer equals the reference answer
rewards/   the rewards, and what they say about themselves
"""
