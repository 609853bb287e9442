"""The tasks of reasoning-gym: endless questions with a checker each.

hooks    what the plugin registers
config   settings of the data set and of the reward
gym      the door to the library: its tasks, and one entry again from its place
dataset  rows of one task or of a mixture, with splits that share no question
guard    what may be handed to a checker that runs its text as code; checkers of our own
score    the reward
"""
