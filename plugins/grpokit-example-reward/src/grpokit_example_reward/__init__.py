"""The smallest useful grpokit plugin.

hooks        what the plugin registers
rewards      the reward `distinct` and its settings
cases.yaml   what it must say: the executable specification
recipes/     recipes that users get by installing the plugin
"""
