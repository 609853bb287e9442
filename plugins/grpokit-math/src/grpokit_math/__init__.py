"""Mathematics: data sets, extraction of answers, a bounded verifier, rewards.

hooks       what the plugin registers
verify/     whether an answer equals the reference answer
"""
