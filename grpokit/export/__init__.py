"""Taking a recipe or trained weights elsewhere.

axes        a recipe's algorithm as one part an axis, with settings
sizes       a step's arithmetic, as other trainers count
notes       what a target cannot express: what differs, and what is refused
data        rows of the data set with their messages, lossless in jsonl and parquet
trl         the script and settings for TRL
verl        the overrides and the command for verl
axolotl     the YAML for axolotl
aside       a new folder under its name when it is whole
folder      writes an exported recipe: files, rewards, README
weights     weights of a run: asks the backend, writes aside, renames
card        the model card: measured results, training, proof, recipe
push        uploads an export to a hub
"""
