r"""Finding an answer in a completion, and reading it as a number. Pure Python, linear in the text.

wrappers   thinking blocks, ``\boxed{}``, ``####``, ``<answer>``: the last non-empty complete one
until      whether a text that may go on holds its answer already
numbers    the last number of a text
parse      one answer as an exact fraction, or None
normal     the form in which answers are compared with each other
"""
