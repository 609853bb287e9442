"""The smallest useful grpokit plugin.

hooks      what the plugin registers
rewards    the reward `distinct` and its settings
recipes/   recipes that users get by installing the plugin
"""
