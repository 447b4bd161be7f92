"""Clients of outside systems. They know nothing of runs."""
