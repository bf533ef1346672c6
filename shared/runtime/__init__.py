"""Runtime: how a function's process starts, takes a message, answers it and logs.

May import: everything else in shared.
"""
