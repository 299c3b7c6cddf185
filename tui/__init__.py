"""Calls in a terminal (Textual)."""
