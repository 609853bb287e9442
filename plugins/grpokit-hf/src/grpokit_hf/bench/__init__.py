"""What `grpokit bench step` measures of this plugin.

step      the contestants `grpokit` and `plain`: the backend `hf` with its fast paths, and without
weights   an adapter that is the same for everybody, and numbers by which gradients are compared
floor     what the matrix products of an update take alone
prepare   brings the model, or makes one with random weights
"""
