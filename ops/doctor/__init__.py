"""`ops doctor`: is this deployment right, and which command mends what is not.

`reading` asks the APIs, `checks_*` compare values with values, `findings` shows the result. Nothing is written.
"""
