"""WHAT WAS RUN: tables of runs, from one's own records or from anyone's CSV."""
