"""The rewards.

specs   what each says about itself
boxed   a box, whatever stands in it
"""
