"""Decisions: pure functions from values to values; nothing here performs I/O.

May import: shared.values.
"""
