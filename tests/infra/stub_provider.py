"""A provider that has only a schema. It speaks Terraform's plugin protocol 6, so that the real binary plans and applies offline.

Runs in a virtual environment of its own: the package `tf` brings the protocol's messages and an older protobuf. A value that a plan
cannot know is unknown, as with the real provider; an apply makes one up. The answers file has four kinds of entry:

    TYPE, TYPE:PROJECT, TYPE:ASSET_TYPE   answer of a data source
    planned TYPE                          computed attributes that follow from others (an e-mail, a full name)
    replaced TYPE                         attributes whose change replaces the resource
    read TYPE                             paths that a refresh reads from the cloud; everything else keeps its value in the state

A file `refused.json` beside it, {TYPE: [name, …]}, lets updates of these resources fail as Google's build errors do: the provider
has saved the new values in the state, and the cloud has the old ones. Values are not checked: the real provider does that.

    python stub_provider.py SCHEMA ANSWERS SOCKET…     (one socket for each provider in SCHEMA, in its order)
"""

from __future__ import annotations

import contextlib
import itertools
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
            type=json.dumps(definition["type"]).encode(),
            required=definition.get("required", False),
            optional=definition.get("optional", False) and not definition.get("required", False),
            computed=definition.get("computed", False),
        )
        for name, definition in block["attributes"].items()
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
    """Return a proposed state in which what is computed, and not definition, is unknown."""
    if value is None:
        return None
    planned = dict(value)
    for name, definition in block["attributes"].items():
        if definition.get("computed") and planned.get(name) is None:
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


def without_unknowns(block: dict[str, Any], value: dict[str, Any], number: int) -> dict[str, Any]:
    """Return a planned state in which the unknown values are made up from `number`."""
    made = dict(value)
    for name, definition in block["attributes"].items():
        if made.get(name) == UNKNOWN:
            made[name] = _made_up(definition["type"], f"made-{name}-{number}", number)
    for name, inner in block["blocks"].items():
        match made.get(name):
            case list() as items:
                made[name] = [without_unknowns(inner["block"], item, number) for item in items]
            case dict() as item:
                made[name] = without_unknowns(inner["block"], item, number)
            case _:
                pass
    return made


def _made_up(of: Any, text: str, number: int) -> Any:
    match of:
        case "number":
            return number
        case "bool":
            return False
        case ["map", _]:
            return {}
        case ["list" | "set", _]:
            return []
        case ["object", attributes]:
            return {name: _made_up(inner, text, number) for name, inner in attributes.items()}
        case _:
            return text


class Provider(wire_grpc.ProviderServicer):  # type: ignore[misc] # the package has no types
    """One provider: its schema, the answers of its data sources, and the resources that an apply has made."""

    def __init__(self, schema: dict[str, Any], answers: dict[str, Any], refused: Path) -> None:
        self.schema = schema
        self.answers = answers
        self.refused = refused
        self.numbers = itertools.count(1)
        self.cloud: dict[tuple[str, str], dict[str, Any]] = {}
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
        prior = _decode(request.prior_state)
        replaced = [
            wire.AttributePath(steps=[wire.AttributePath.Step(attribute_name=name)])
            for name in self.answers.get(f"replaced {request.type_name}", [])
            if prior is not None and planned is not None and prior[name] != planned[name]
        ]
        return wire.PlanResourceChange.Response(
            planned_state=_encode(planned), requires_replace=replaced, legacy_type_system=True
        )

    def ApplyResourceChange(self, request: Any, _context: Any) -> Any:  # noqa: N802
        """Make what is planned, and make up the rest."""
        kind, planned = request.type_name, _decode(request.planned_state)
        if planned is None:
            return wire.ApplyResourceChange.Response(new_state=_encode(None), legacy_type_system=True)
        made = without_unknowns(self.schema["resources"][kind], planned, next(self.numbers))
        faults = []
        refused = json.loads(self.refused.read_text()) if self.refused.exists() else {}
        if made.get("name") in refused.get(kind, []):
            faults = [wire.Diagnostic(severity=wire.Diagnostic.ERROR, summary=f"{kind} {made['name']}: Build failed")]
        else:
            self.cloud[kind, str(made.get("name"))] = made
        return wire.ApplyResourceChange.Response(new_state=_encode(made), diagnostics=faults, legacy_type_system=True)

    def ReadResource(self, request: Any, _context: Any) -> Any:  # noqa: N802
        """The state, and from the cloud the paths that this type reads."""
        state = _decode(request.current_state)
        if state is not None:
            real = self.cloud.get((request.type_name, str(state.get("name"))), state)
            for path in self.answers.get(f"read {request.type_name}", []):
                *parents, last = path
                to, of = state, real
                for step in parents:
                    to, of = to[step], of[step]
                to[last] = of[last]
        return wire.ReadResource.Response(new_state=_encode(state))

    def UpgradeResourceState(self, request: Any, _context: Any) -> Any:  # noqa: N802
        """The state as it is: there is one version."""
        return wire.UpgradeResourceState.Response(upgraded_state=_encode(json.loads(request.raw_state.json)))

    def ReadDataSource(self, request: Any, _context: Any) -> Any:  # noqa: N802
        """The answers file's answer."""
        asked = _decode(request.config) or {}
        subject = asked.get("project_id") or (asked.get("asset_types") or [""])[0]
        definition = self.answers.get(f"{request.type_name}:{subject}") or self.answers.get(request.type_name, {})
        state = dict(asked)
        for name, attribute in self.schema["data"][request.type_name]["attributes"].items():
            if attribute.get("computed") and state.get(name) is None:
                fallback = f"stub-{name}" if attribute["type"] == "string" else None
                state[name] = _whole(attribute["type"], definition.get(name, fallback))
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
    refused = Path(sys.argv[2]).with_name("refused.json")
    servers = []
    for schema, socket in zip(schemas.values(), sys.argv[3:], strict=True):
        server = grpc.server(futures.ThreadPoolExecutor(max_workers=4))
        wire_grpc.add_ProviderServicer_to_server(Provider(schema, answers, refused), server)
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
