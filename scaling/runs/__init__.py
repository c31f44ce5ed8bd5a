"""WHAT WAS RUN: tables of runs, from one's own records or from anyone's CSV."""

LOGGED = ("schedule", "step", "lr", "loss")  # columns of a table whose rows are steps of trainings
