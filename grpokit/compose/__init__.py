"""From the text of a recipe to a checked recipe, and from there to a plan. No torch.

Reading:
    files        bytes to text: size, encoding, line ends
    yaml         text to nodes with positions (syntax explains errors, scalars are those of 1.2)
    nodes        a value and where it stands
    library      a name or a path to a file; names of plugins' recipes
    extends      a recipe with all it extends (merge lays one on another)
    overrides    --set a.b=c, --with a=b
    load         all of it: load_recipe
    write        recipe data back to YAML

Checking:
    diagnostics  a problem, its code and its place; CODES is the reference
    check        data against a configuration model (fields: what it allows; values: usual slips)
    components   what the recipe names exists and takes its settings (settings: those of one, from --with)
    semantics    combinations that cannot work (sections, columns, inert: keys without effect)
    diff, schema two recipes compared; the JSON Schema for editors

Using:
    prompts      a row to chat messages; the one place where that happens
    data         the data set with the recipe's columns and limit

Planning:
    plan         components, arithmetic, columns, trials, memory, advice: make_plan
    asked        what a step really asks, where the algorithm says
    arithmetic, dimensions, memory (footprint adds it up), resources, rules, stale, trials   its parts
"""
