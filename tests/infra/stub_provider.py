"""A provider that knows a schema and nothing else: speaks Terraform's plugin protocol 6, so that the real binary plans offline.

Runs in a virtual environment of its own (the package `tf` brings the protocol's messages and an older protobuf). What a plan
cannot know is unknown, as with the real one. The answers file says what data sources answer, and which computed attributes
follow from others (an e-mail, a full name), so that a plan shows who may do what.
Left out: applying, and every check of values: those are the real provider's.

    python stub_provider.py SCHEMA ANSWERS SOCKET…     (one socket for each provider in SCHEMA, in its order)
"""

from __future__ import annotations

import contextlib
import json
import re
import sys
from concurrent import futures
from pathlib import Path
from typing import Any

import grpc
import msgpack  # type: ignore[import-not-found] # these two are in its own environment
from tf.gen import tfplugin_pb2 as wire  # type: ignore[import-not-found]
from tf.gen import tfplugin_pb2_grpc as wire_grpc

UNKNOWN = msgpack.ExtType(0, b"\0")
_USED = re.compile(r"\{(\w+)\}")
NESTING = {"list": 2, "set": 3, "single": 1}


def schema_of(block: dict[str, Any]) -> Any:
    """Return a block as the protocol's message."""
    return wire.Schema(version=0, block=_block(block))


def _block(block: dict[str, Any]) -> Any:
    attributes = [
        wire.Schema.Attribute(
            name=name,
            type=json.dumps(said["type"]).encode(),
            required=said.get("required", False),
            optional=said.get("optional", False) and not said.get("required", False),
            computed=said.get("computed", False),
        )
        for name, said in block["attributes"].items()
    ]
    blocks = [
        wire.Schema.NestedBlock(
            type_name=name,
            block=_block(inner["block"]),
            nesting=NESTING[inner["nesting"]],
            min_items=int(inner["required"] and inner["nesting"] != "single"),
            max_items=int(inner["one"] and inner["nesting"] != "single"),
        )
        for name, inner in block["blocks"].items()
    ]
    return wire.Schema.Block(version=0, attributes=attributes, block_types=blocks)


def with_unknowns(block: dict[str, Any], value: dict[str, Any] | None) -> dict[str, Any] | None:
    """Return a proposed state in which what is computed, and not said, is unknown."""
    if value is None:
        return None
    planned = dict(value)
    for name, said in block["attributes"].items():
        if said.get("computed") and planned.get(name) is None:
            planned[name] = UNKNOWN
    for name, inner in block["blocks"].items():
        match planned.get(name):
            case list() as items:
                planned[name] = [with_unknowns(inner["block"], item) for item in items]
            case dict() as item:
                planned[name] = with_unknowns(inner["block"], item)
            case _:
                pass
    return planned


class Provider(wire_grpc.ProviderServicer):  # type: ignore[misc] # the package has no types
    """One provider: its schema, and what its data sources answer."""

    def __init__(self, schema: dict[str, Any], answers: dict[str, Any]) -> None:
        self.schema = schema
        self.answers = answers
        self.described = wire.GetProviderSchema.Response(
            provider=schema_of(schema["provider"]),
            resource_schemas={name: schema_of(block) for name, block in schema["resources"].items()},
            data_source_schemas={name: schema_of(block) for name, block in schema["data"].items()},
        )

    def GetProviderSchema(self, _request: Any, _context: Any) -> Any:  # noqa: N802 - the protocol's names
        """All that it knows."""
        return self.described

    def ValidateProviderConfig(self, _request: Any, _context: Any) -> Any:  # noqa: N802
        """Nothing to object to."""
        return wire.ValidateProviderConfig.Response()

    def ConfigureProvider(self, _request: Any, _context: Any) -> Any:  # noqa: N802
        """Needs no configuration."""
        return wire.ConfigureProvider.Response()

    def ValidateResourceConfig(self, _request: Any, _context: Any) -> Any:  # noqa: N802
        """Terraform itself has compared names, types and blocks with the schema."""
        return wire.ValidateResourceConfig.Response()

    def ValidateDataResourceConfig(self, _request: Any, _context: Any) -> Any:  # noqa: N802
        """As for resources."""
        return wire.ValidateDataResourceConfig.Response()

    def PlanResourceChange(self, request: Any, _context: Any) -> Any:  # noqa: N802
        """What is proposed, with what only the cloud could say as unknown."""
        proposed = _decode(request.proposed_new_state)
        planned = with_unknowns(self.schema["resources"][request.type_name], proposed)
        for name, form in self.answers.get(f"planned {request.type_name}", {}).items():
            if planned is not None and all(planned[used] != UNKNOWN for used in _USED.findall(form)):
                planned[name] = form.format_map(planned)
        return wire.PlanResourceChange.Response(planned_state=_encode(planned), legacy_type_system=True)

    def ReadDataSource(self, request: Any, _context: Any) -> Any:  # noqa: N802
        """The answers file's answer; `<type>:<project_id>` goes before `<type>`."""
        asked = _decode(request.config) or {}
        said = self.answers.get(f"{request.type_name}:{asked.get('project_id')}") or self.answers.get(
            request.type_name, {}
        )
        state = dict(asked)
        for name, attribute in self.schema["data"][request.type_name]["attributes"].items():
            if attribute.get("computed") and state.get(name) is None:
                fallback = f"stub-{name}" if attribute["type"] == "string" else None
                state[name] = _whole(attribute["type"], said.get(name, fallback))
        return wire.ReadDataSource.Response(state=_encode(state))

    def StopProvider(self, _request: Any, _context: Any) -> Any:  # noqa: N802
        """Nothing runs that could be stopped."""
        return wire.StopProvider.Response()


def _whole(of: Any, value: Any) -> Any:
    """Return a list of objects with every attribute that its type has."""
    match of, value:
        case [_, ["object", attributes]], list():
            return [{**dict.fromkeys(attributes), **item} for item in value]
        case _:
            return value


def _decode(value: Any) -> dict[str, Any] | None:
    decoded = msgpack.unpackb(value.msgpack, ext_hook=msgpack.ExtType)
    return decoded if isinstance(decoded, dict) else None


def _encode(value: dict[str, Any] | None) -> Any:
    return wire.DynamicValue(msgpack=msgpack.packb(value))


def main() -> None:
    """Serve until standard input ends: nothing outlives the tests."""
    schemas: dict[str, Any] = json.loads(Path(sys.argv[1]).read_text())
    answers: dict[str, Any] = json.loads(Path(sys.argv[2]).read_text())
    servers = []
    for schema, socket in zip(schemas.values(), sys.argv[3:], strict=True):
        server = grpc.server(futures.ThreadPoolExecutor(max_workers=4))
        wire_grpc.add_ProviderServicer_to_server(Provider(schema, answers), server)
        server.add_insecure_port(f"unix:{socket}")
        server.start()
        servers.append(server)
    sys.stdout.write("ready\n")
    sys.stdout.flush()
    with contextlib.suppress(KeyboardInterrupt):
        sys.stdin.read()
    for server in servers:
        server.stop(0)


if __name__ == "__main__":
    main()
