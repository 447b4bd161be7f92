"""Runs, and everything breaking at once: counted at the outside system, nothing may be lost, done twice or done unapproved."""
