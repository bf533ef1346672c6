"""`reset`, `seed` and `export`: an empty cloud, and fleets from and to a file."""

from __future__ import annotations

from pathlib import Path
from typing import TYPE_CHECKING, Any

import yaml

from local.commands.options import UsageError, add_command, running_cloud

if TYPE_CHECKING:
    import argparse

    from local.commands.options import Commands


def add(commands: Commands) -> None:
    """Add the commands."""
    add_command(commands, "reset", _reset, "restore the state right after the start, without the clusters of a seed")
    seed = add_command(commands, "seed", _seed, "create the clusters of a file (see local/seed.py)")
    seed.add_argument("file", type=Path, metavar="FILE", help="YAML, as `export` prints it")
    add_command(commands, "export", _export, "print the clusters as YAML for `seed` and `up --seed`")


def read_seed(file: Path) -> Any:
    """Read a YAML document; the cloud checks its contents. Raises UsageError if it is not YAML."""
    try:
        return yaml.safe_load(file.read_text())
    except OSError as error:
        raise UsageError(f"{file}: {error.strerror}") from error
    except (UnicodeDecodeError, yaml.YAMLError) as error:
        raise UsageError(f"{file}: {error}") from error


def _reset(options: argparse.Namespace) -> None:
    running_cloud(options).reset()


def _seed(options: argparse.Namespace) -> None:
    running_cloud(options).seed(read_seed(options.file))


def _export(options: argparse.Namespace) -> None:
    print(yaml.safe_dump(running_cloud(options).export(), sort_keys=False, allow_unicode=True), end="")
