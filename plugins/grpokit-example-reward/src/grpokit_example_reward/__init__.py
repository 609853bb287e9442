"""The smallest useful grpokit plugin."""
