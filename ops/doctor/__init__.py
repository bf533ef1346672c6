"""`ops doctor`: is this deployment right, and which command repairs what is not.

`reading` asks the APIs, `checks_*` compare values with values, `findings` shows the result. Nothing is written.
"""
