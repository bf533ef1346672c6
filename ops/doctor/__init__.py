"""`ops doctor`: compares a deployment with its specification, and names the command that repairs each difference.

`reading` asks the APIs, `checks_*` compare values with values, `findings` shows the result. Nothing is written.
"""
