"""The command line. One file a command; each exposes ``app``, a Typer app.

main      entry point: global options, one place that turns errors into messages and exit codes
commands  the table of commands, and the group that imports a command only when it is called
crash     what happens to an exception that nobody raised on purpose
render    the only importer of rich
launch    several processes for one run; worker is what each of them runs
train, eval, plan, recipes, algorithms, bench, export, doctor, plugins, models   the commands
"""
