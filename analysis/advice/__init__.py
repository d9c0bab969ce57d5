"""Findings with a cure."""
