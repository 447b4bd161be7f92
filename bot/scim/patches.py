"""PATCH (RFC 7644, section 3.5.2): add, remove and replace on a resource as JSON, forgiving what directories are known to send."""

import re
from collections.abc import Mapping, Sequence
from copy import deepcopy
from dataclasses import dataclass
from typing import Any, Final

from .filters import Equal, read_filter
from .problems import ScimProblem, wrong_value

MOST_OPERATIONS: Final = 1_000
_PATH: Final = re.compile(
    r"(?:(?P<urn>urn:[\w.:-]+):)?(?P<name>[A-Za-z$][\w$-]*)(?:\[(?P<filter>[^\]]*)\])?(?:\.(?P<sub>[A-Za-z$][\w$-]*))?\Z"
)
_URN: Final = re.compile(r"urn:[\w.:-]+:2\.0:\w+\Z")
_CORE: Final = "urn:ietf:params:scim:schemas:core:2.0:"
# Attributes whose elements are told apart by their `value`.
_MANY: Final = frozenset({"emails", "members"})

Json = dict[str, Any]


@dataclass(frozen=True)
class _Path:
    """Where an operation applies: in an extension or not, an attribute, some of its elements, a part of it."""

    extension: str
    name: str
    chosen: Sequence[Equal]
    sub: str


def patched(resource: Mapping[str, Any], request: Mapping[str, Any]) -> Json:
    """The resource after the operations of a PatchOp, in their order; raises ScimProblem, and then nothing is changed."""
    operations = _given(request, "Operations")
    if not isinstance(operations, list) or not 0 < len(operations) <= MOST_OPERATIONS:
        raise ScimProblem(400, f"Operations: should be a list of 1 to {MOST_OPERATIONS} operations", "invalidSyntax")
    changed = deepcopy(dict(resource))
    for one in operations:
        if not isinstance(one, dict):
            raise ScimProblem(400, "Operations: each should have op, and path or value", "invalidSyntax")
        _apply(changed, one)
    return changed


def _apply(resource: Json, operation: Mapping[str, Any]) -> None:
    op, path, value = str(_given(operation, "op")).lower(), _given(operation, "path"), _given(operation, "value")
    if op not in ("add", "remove", "replace"):
        raise ScimProblem(400, f"op: {op[:40]!r} should be add, remove or replace", "invalidSyntax")
    if path is None or path == "":
        if op == "remove":
            raise ScimProblem(400, "path: is required to remove something", "noTarget")
        if not isinstance(value, dict):
            raise wrong_value("value: should be an object of attributes when there is no path")
        for name, one in value.items():
            _apply_whole(resource, op, str(name), one)
        return
    _change(resource, op, _read_path(str(path)), value)


def _apply_whole(resource: Json, op: str, name: str, value: Any) -> None:
    """Without a path the value names attributes, extensions by their URN, or, as some directories write them, dotted paths."""
    if _URN.match(name) and isinstance(value, dict):
        for inner, one in value.items():
            _change(resource, op, _Path(name, str(inner), (), ""), one)
    else:
        _change(resource, op, _read_path(name), value)


def _change(resource: Json, op: str, path: _Path, value: Any) -> None:
    holder = resource if not path.extension else resource.setdefault(_key(resource, path.extension), {})
    if not isinstance(holder, dict):
        raise ScimProblem(400, f"path: {path.extension} is no extension", "invalidPath")
    key = _key(holder, path.name)
    if path.chosen or (path.name.lower() in _MANY and isinstance(holder.get(key), list | None)):
        holder[key] = _changed_list(list(holder.get(key) or []), op, path, value)
    elif path.sub:
        inner = holder.get(key) if isinstance(holder.get(key), dict) else {}
        assert isinstance(inner, dict)  # noqa: S101  for the type checker
        _set(inner, op, path.sub, value)
        holder[key] = inner
    elif op == "add" and isinstance(holder.get(key), dict) and isinstance(value, dict):
        holder[key] = {**holder[key], **value}
    else:
        _set(holder, op, path.name, value)


def _changed_list(items: list[Any], op: str, path: _Path, value: Any) -> list[Any]:
    if path.chosen:
        return _changed_elements(items, op, path, value)
    given = value if isinstance(value, list) else [] if value is None else [value]
    given = [one if isinstance(one, dict) else {"value": one} for one in given]
    named = {str(one.get("value")) for one in given}
    if op == "replace":
        return given
    if op == "remove":
        return [one for one in items if value is not None and str(one.get("value")) not in named]
    return [one for one in items if str(one.get("value")) not in named] + given


def _changed_elements(items: list[Any], op: str, path: _Path, value: Any) -> list[Any]:
    """Elements that the path's filter chooses; one that is to be set and is not there is made."""
    chosen = [one for one in items if isinstance(one, dict) and all(test.holds(one) for test in path.chosen)]
    if op == "remove" and not path.sub:
        return [one for one in items if one not in chosen]
    if not chosen and op != "remove":
        chosen = [{test.path: test.value for test in path.chosen}]
        items = [*items, *chosen]
    for one in chosen:
        if path.sub:
            _set(one, op, path.sub, value)
        elif isinstance(value, dict):
            one.update(value)
        else:
            raise wrong_value(f"value: should be an object for {path.name}[…]")
    return items


def _set(holder: Json, op: str, name: str, value: Any) -> None:
    if op == "remove":
        holder.pop(_key(holder, name), None)
    else:
        holder[_key(holder, name)] = value


def _read_path(written: str) -> _Path:
    match = _PATH.match(written)
    if match is None:
        raise ScimProblem(400, f"path: {written[:80]!r} cannot be read", "invalidPath")
    urn = match["urn"] or ""
    chosen = read_filter(match["filter"]) if match["filter"] is not None else ()
    return _Path("" if urn.startswith(_CORE) else urn, match["name"], chosen, match["sub"] or "")


def _key(holder: Mapping[str, Any], name: str) -> str:
    """The key as it is written there already: names of attributes are the same in upper and lower case."""
    return next((one for one in holder if one.lower() == name.lower()), name)


def _given(holder: Mapping[str, Any], name: str) -> Any:
    return holder.get(_key(holder, name))
