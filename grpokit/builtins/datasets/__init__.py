"""Core's data sets. Each module has a configuration and a class that is a ``grpokit.api.Dataset``.

specs        their specs, for the hook module
inline       rows that stand in the recipe
jsonl        a local file with one JSON object a line
arithmetic   sums, differences and products, without end, with a held-out split
problems     the space of arithmetic problems that ``arithmetic`` draws from
"""
