"""The entry point of a function that people call: HTTP in, HTTP out. Cloud Run has checked the caller before."""

from __future__ import annotations

import functools
import importlib
from typing import TYPE_CHECKING

import functions_framework

if TYPE_CHECKING:
    from collections.abc import Callable

    from flask import Request

Response = tuple[str, int, dict[str, str]]  # body, status, headers: as Flask takes them


def http_entry_point(declared: Callable[[Request], None]) -> Callable[[Request], Response]:
    """Have the module of that name in `functions` answer the requests; it is imported at the first one."""

    @functools.wraps(declared)
    def serve(request: Request) -> Response:
        module = importlib.import_module(f"functions.{declared.__name__}")
        answered: Response = module.run(request.method, request.path, request.args.to_dict())
        return answered

    functions_framework.http(serve)  # registers it by its name
    return serve
