"""Finding things: installed plugins, their components, and the code behind a component.

builtin    core's own plugin record, made through the same hooks as everyone's
record     PluginRecord: what is known about one installed plugin
discover   installed distributions, and what the environment variables allow
load       one plugin -> its record, guarded: a broken plugin breaks only itself
validate   what a hook may return
catalog    kind and name -> Entry; near misses and ambiguous names
resolve    "module:attribute" -> object, settings -> config, source hashes
settings   what a component lets its user set, for tables and references
models     the cache of catalogued models
source     the file behind a module, without importing it
output     keeps what a plugin prints away from stdout
"""
