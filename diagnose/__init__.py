"""Calls become findings: one rule a file, found without a list."""
