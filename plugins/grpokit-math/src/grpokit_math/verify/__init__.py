"""Whether an answer equals the reference answer. See docs/grading.md for the policy."""
