"""The training step beside those of others: a process each, see benchmarks.peers.race."""
