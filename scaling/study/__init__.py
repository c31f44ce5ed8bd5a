"""The whole line in one command, from a plan to a scored forecast and a report."""
