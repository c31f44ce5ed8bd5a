"""How far off the default forecast would have been on whole collections of runs."""
