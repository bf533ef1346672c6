"""Values: names, codes, errors, settings, messages, and what was read, as immutable data.

May import: the standard library only.
"""
