"""WHAT ALL VERBS SHARE with the person at the terminal: flags of one meaning, and printing."""
