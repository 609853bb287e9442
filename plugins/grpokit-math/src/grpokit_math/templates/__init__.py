"""Prompt templates that others have published, word for word, and one of our own with examples."""
