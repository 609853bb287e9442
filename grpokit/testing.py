"""Pytest plugin for authors of grpokit plugins."""
