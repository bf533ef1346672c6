"""The status page: a view of what `ops plan`, `explain`, `status` and the log say, as HTML and JSON.

`reading` reads; everything else is pure. `ops serve`, `ops status` with a file and the function `status` show it.
"""
