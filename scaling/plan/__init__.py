"""A study before it is trained: its runs, what they cost in compute, time, memory and money."""
