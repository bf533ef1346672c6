"""`make coverage`: the share of lines and branches of each part of the product that the tests ran, against a floor.

coverage's own floor counts lines and branches together; this one counts the branches alone, in each part.
"""

# ruff: noqa: T201 - a command, which talks to a person

from __future__ import annotations

import contextlib
import io
import json
import sys
import tempfile
from pathlib import Path
from typing import Any

from coverage import Coverage

PARTS = ("functions", "shared", "ops")
FLOOR = 95.0  # per cent of the branches of each part


def shares(files: dict[str, Any], part: str) -> tuple[float, float]:
    """Return the per cent of lines and of branches that ran."""
    found = [one["summary"] for name, one in files.items() if name.startswith(f"{part}/")]

    def share(covered: str, all_: str) -> float:
        return 100.0 * float(sum(one[covered] for one in found)) / float(sum(one[all_] for one in found))

    return share("covered_lines", "num_statements"), share("covered_branches", "num_branches")


def main() -> int:
    """Print what did not run, file by file, and the shares; return the exit code."""
    measured = Coverage()
    measured.load()
    total = measured.report(show_missing=True, skip_covered=True)
    with tempfile.TemporaryDirectory() as directory, contextlib.redirect_stdout(io.StringIO()):
        report = Path(directory) / "coverage.json"
        measured.json_report(outfile=str(report))
        files = json.loads(report.read_text())["files"]
    found = {part: shares(files, part) for part in PARTS}
    for part, (lines, branches) in found.items():
        print(f"{part + '/':<12} lines {lines:5.1f} %  branches {branches:5.1f} %")
    low = [part for part, (_, branches) in found.items() if branches < FLOOR]
    if low:
        print(f"Fewer than {FLOOR:g} % of the branches of {', '.join(low)} were run")
    floor = float(str(measured.get_option("report:fail_under")))
    return int(bool(low) or total < floor)


if __name__ == "__main__":
    sys.exit(main())
