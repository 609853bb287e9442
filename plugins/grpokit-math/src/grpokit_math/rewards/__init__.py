"""The rewards.

specs        what each says about itself
answer       the gold answer of a row, and the verdict about a completion
accuracy     the answer is right
boxed        there is a box
gsm8k        the five of the best-known GSM8K script
working      those of the notebooks with working-out tags
scanners     forms of tags in one pass
arithmetic   a number, and the right one
email        the e-mail example
rubric       weighted items that a program can check
lengths      length with correctness, and length alone
shape        repetition, tags, steps
language     mixed scripts
"""
