"""How far a study has come, by the files in its folder: nothing is trained and nothing locked."""
