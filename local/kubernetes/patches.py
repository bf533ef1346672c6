"""The three patch formats: merge (RFC 7386), strategic merge, JSON patch (RFC 6902). Pure: documents in, document out."""

from __future__ import annotations

import copy
from typing import Any

from local.kubernetes.status import StatusError, bad_request

# Lists that a strategic merge patch merges, by the name of the field: the key of the entries, or "" for plain values.
# All other lists of the served kinds are atomic (patchStrategy in k8s.io/api/{core,rbac}/v1 and meta/v1 types.go).
MERGED_LISTS = {"ownerReferences": "uid", "finalizers": "", "secrets": "name"}


def merge(document: Any, patch: Any) -> Any:
    """Apply a merge patch: null deletes, objects merge, everything else replaces."""
    if not isinstance(patch, dict):
        return patch
    merged = dict(document) if isinstance(document, dict) else {}
    for key, value in patch.items():
        if value is None:
            merged.pop(key, None)
        else:
            merged[key] = merge(merged.get(key), value)
    return merged


def strategic_merge(document: Any, patch: dict[str, Any]) -> dict[str, Any]:
    """Apply a strategic merge patch with `$patch`, `$deleteFromPrimitiveList` and the merged lists."""
    directive = patch.get("$patch")
    rest = {key: value for key, value in patch.items() if key != "$patch"}
    if directive in {"replace", "delete"}:
        return rest if directive == "replace" else {}
    if directive not in {None, "merge"}:
        raise bad_request(f"Unknown patch type: {directive}")
    merged = dict(document) if isinstance(document, dict) else {}
    for key, value in rest.items():
        if key.startswith(("$setElementOrder/", "$retainKeys")):
            continue
        if key.startswith("$deleteFromPrimitiveList/"):
            field = key.partition("/")[2]
            merged[field] = [entry for entry in merged.get(field, []) if entry not in value]
        elif value is None:
            merged.pop(key, None)
        elif isinstance(value, dict):
            merged[key] = strategic_merge(merged.get(key), value)
        elif isinstance(value, list) and key in MERGED_LISTS:
            merged[key] = _merge_list(merged.get(key, []), value, MERGED_LISTS[key])
        else:
            merged[key] = value
    return merged


def _merge_list(entries: list[Any], patch: list[Any], by: str) -> list[Any]:
    if not by:
        return entries + [entry for entry in patch if entry not in entries]
    if any(isinstance(entry, dict) and entry.get("$patch") == "replace" for entry in patch):
        return [entry for entry in patch if entry.get("$patch") != "replace"]
    merged = {entry.get(by): entry for entry in entries}
    for entry in patch:
        if not isinstance(entry, dict) or by not in entry:
            raise bad_request(f"map: {entry!r} does not contain declared merge key: {by}")
        if entry.get("$patch") == "delete":
            merged.pop(entry[by], None)
        else:
            merged[entry[by]] = strategic_merge(merged.get(entry[by]), entry)
    return list(merged.values())


def json_patch(document: Any, operations: Any) -> Any:
    """Apply a JSON patch; one operation that fails refuses them all, with 422 as kube-apiserver does."""
    if not isinstance(operations, list) or not all(isinstance(operation, dict) for operation in operations):
        raise bad_request("error decoding patch: json: cannot unmarshal into Go value of type jsonpatch.Patch")
    document = copy.deepcopy(document)
    for operation in operations:
        kind, path = operation.get("op"), operation.get("path")
        try:
            if kind in {"add", "replace", "test"}:
                value = operation["value"]
            if kind in {"move", "copy"}:
                value = copy.deepcopy(_read(document, operation["from"]))
            if kind == "test":
                # kube-apiserver takes null for a key that its object lacks, against RFC 6902.
                is_null = value is None and not _is_there(document, path)
                if not is_null and _read(document, path) != value:
                    raise _failed(f"testing value {path} failed")
                continue
            if kind == "remove" or (kind == "replace" and _is_there(document, path)):
                _remove(document, path)
            elif kind == "move":
                _remove(document, operation["from"])
            elif kind not in {"add", "copy", "replace"}:
                raise bad_request(f"Unexpected kind: {kind}")
            if kind != "remove":
                document = _add(document, path, value)
        except (KeyError, IndexError, ValueError, TypeError, AttributeError) as error:
            raise _failed(f"{kind} operation does not apply: doc is missing path: {path}: missing value") from error
    return document


def _failed(message: str) -> StatusError:
    # The cause is not in the answer (kube-apiserver 1.36 answers with empty details); it is kept for who debugs.
    error = StatusError(422, "Invalid", "the server rejected our request due to an error in our request", {})
    error.add_note(message)
    return error


def _steps(path: str) -> list[str]:
    if not path:
        return []
    if not path.startswith("/"):
        raise ValueError(path)
    return [step.replace("~1", "/").replace("~0", "~") for step in path[1:].split("/")]


def _descend(document: Any, steps: list[str]) -> Any:
    for step in steps:
        document = document[int(step)] if isinstance(document, list) else document[step]
    return document


def _read(document: Any, path: str) -> Any:
    return _descend(document, _steps(path))


def _remove(document: Any, path: str) -> None:
    *parents, last = _steps(path)
    holder = _descend(document, parents)
    del holder[int(last) if isinstance(holder, list) else last]


def _is_there(document: Any, path: str) -> bool:
    """Whether there is something to replace; kube-apiserver adds a key that its object lacks, against RFC 6902."""
    *parents, last = _steps(path)
    holder = _descend(document, parents)
    return not isinstance(holder, dict) or last in holder


def _add(document: Any, path: str, value: Any) -> Any:
    steps = _steps(path)
    if not steps:
        return value
    holder = _descend(document, steps[:-1])
    if isinstance(holder, list):
        at = len(holder) if steps[-1] == "-" else int(steps[-1])
        if not 0 <= at <= len(holder):
            raise IndexError(at)
        holder.insert(at, value)
    else:
        holder[steps[-1]] = value
    return document
