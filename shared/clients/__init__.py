"""Clients: reads and writes at the APIs, and the protocols (`ports`) that describe them; nothing here decides.

May import: shared.values and client libraries.
"""
