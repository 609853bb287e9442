"""Core's rewards. Each module has a configuration and a factory that returns the reward function.

specs      their specs, for the hook module
choose     where the answer of a completion stands: boxed, hash, answer tag, last number
exact      the answer equals the gold text
number     the answer equals the gold number, exactly
readers    what these two read in a completion
contains   the gold text, or a given one, occurs in the completion
format     tags in order, a box, or a pattern
length     the completion's length lies in a range
pattern    the syntax of the regular expressions of ``format``
linear     their matcher, which takes linear time
"""
