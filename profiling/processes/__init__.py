"""Processes of this project, and the notes that they leave in a folder."""
