"""A run evaluated again: its numbers, parts of its evaluation set, and single rows to read."""
