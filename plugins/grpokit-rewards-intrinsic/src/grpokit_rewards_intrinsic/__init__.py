"""Rewards out of the policy itself, and of what it says about itself. docs/howto-intrinsic-rewards.md.

hooks       what the plugin registers
certainty   ``self-certainty``: how far each next token's distribution is from uniform
reference   ``reference-probability``: how probable the reference answer is after the reasoning
wrappers    where the inside of the last answer's wrapper begins
brier       ``brier``: correctness, and how well a stated confidence fits it
confidence  the confidence that a completion states; the order of its blocks
vote        ``majority-vote``: agreement with the group's most frequent answer
"""
