"""Weights and programs of a run in files that others read, and theirs made a run."""
