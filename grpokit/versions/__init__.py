"""Which versions of torch, transformers, TRL, vLLM and Unsloth run together. Data first, no torch.

versions.yaml  the table: sets that were run, ranges, what a machine needs, known conflicts
table          the table as frozen data: load_table
installed      what is here: versions, requirements, torch's build, the kind of machine
conflicts      what of it does not fit: the table's conflicts, and the packages' own metadata
constraints    the constraints file of a set and the commands that install it
"""
