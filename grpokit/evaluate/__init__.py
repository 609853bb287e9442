"""Sampling a model on held-out questions, and honest comparisons.

intervals  Wilson and Tango intervals, exact McNemar test, the smallest detectable change
paired     base against trained on the same items: difference, verdict, flips
records    one evaluated item, and the files of an evaluation
run        evaluate(): prompts, completions, scores; the same code paths as training
"""
