"""Data sets of maths questions, from the hub or from local files in their official format.

specs     what they say about themselves, for the hook module
config    their settings
read      local files and the hub's rows, each row with its place
gold      the final answer of an official row, checked
official  the data sets
"""
