"""Collectives between ranks, and strategies of data parallel training."""
