"""Answers, and how they are shown: tables, formats, command lines, errors, progress."""
