"""What the functions and the operator's commands share, in layers. Each folder's docstring says what belongs there."""
