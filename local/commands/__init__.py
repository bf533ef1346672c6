"""The commands of `python -m local`, one module per group; `add` of each puts them into the parser."""
