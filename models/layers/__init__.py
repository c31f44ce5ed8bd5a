"""What families are made of; no family lies here."""
