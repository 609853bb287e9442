"""Packages of plugins: written from templates, and checked.

names       every name of a package from the one that its author gives
write       `grpokit plugins new`: a package from its templates
templates/  one folder a kind, and `common`; `@name@` in text and in paths is replaced
findings    what a check says
probes      the contract of every reward, on hostile completions
cases       cases.yaml, read
execute     its cases, executed
rows        the contract of every data set
imports     what it imports at every start, and without having told pip
metadata    what the distribution says about itself
plugin      all checks of an installed plugin
wheel       building and installing the wheel of a folder
full        its tests, and a run with its recipe `smoke`
check       `grpokit plugins check`: a name or a folder, through its wheel

`grpokit.testing` is the same for pytest.
"""
