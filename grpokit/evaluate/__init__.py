"""Sampling a model on held-out questions, and honest comparisons.

intervals  Wilson and Tango intervals, exact McNemar test, the smallest detectable change
means      the same for shares by question, over questions or clusters of them
flips      the sign-flip test
passes     pass@k
texts      lengths and repetition of answers
paired     base against trained on the same items: difference, verdict, flips
records    one answer, a whole evaluation, and the files of an evaluation
lines      a file of JSON lines that survives a kill
kept       the answers so far on disk, for an evaluation that is interrupted
run        evaluate(): prompts, completions, scores; the same code paths as training
"""
