"""Sampling a model on held-out questions, and honest comparisons.

intervals  Wilson and Tango intervals, exact McNemar test, the smallest detectable change
means      the same for shares by question, over questions or clusters of them
flips      the sign-flip test
passes     pass@k
votes      maj@k
texts      lengths of answers, words in them, thinking that is left open
measures   the rates that stand beside an accuracy
calibration  whether the confidence that answers state is the share of them that is right
overlap    questions that stand in the training data
spread     means and t intervals over seeds
paired     base against trained on the same items: difference, verdict, flips
several    Holm's adjustment of several tests
ladder     more than two models, each against the first
pareto     which models nobody beats in both cost and accuracy
prices     what answers cost, by a table of the user's
gates      limits, for a pipeline
readings   what is read in an answer beside its scores
records    one answer, a whole evaluation, and the files of an evaluation
lines      a file of JSON lines that survives a kill
described  an evaluation as data
stored     evaluations read back
again      stored answers, marked again by other rewards
fingerprints  whether two evaluations measured the same thing
kept       the answers so far on disk, for an evaluation that is interrupted
run        evaluate(): prompts, completions, scores; the same code paths as training
"""
