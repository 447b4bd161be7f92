"""Users and groups: what of a directory's JSON is kept, and the JSON that it gets back. Everything else it says is not stored."""

from collections.abc import Mapping, Sequence
from datetime import datetime
from typing import Any, Final
from uuid import UUID

from countersign.calendars import zone_of
from store.directories import GROUP, USER, Resource

from .problems import wrong_value

CORE: Final = "urn:ietf:params:scim:schemas:core:2.0:"
ENTERPRISE: Final = "urn:ietf:params:scim:schemas:extension:enterprise:2.0:User"
ENDPOINTS: Final = {USER: "Users", GROUP: "Groups"}
LONGEST: Final = 200
MOST_EMAILS: Final = 10
MOST_MEMBERS: Final = 20_000
_NAME_PARTS: Final = ("formatted", "givenName", "familyName")
_COMPANY: Final = ("employeeNumber", "department", "division", "organization", "costCenter")

Json = dict[str, Any]


def read_user(given: Mapping[str, Any]) -> Json:
    """What is kept of a user; raises ScimProblem invalidValue naming the attribute."""
    user_name = _text(given, "userName")
    if not user_name:
        raise wrong_value("userName: is required")
    body: Json = {"userName": user_name, "active": _bool(given, "active")}
    body |= {name: value for name in ("externalId", "displayName", "title") if (value := _text(given, name))}
    if zone := _text(given, "timezone"):
        body["timezone"] = _zone(zone)
    if name := {part: value for part in _NAME_PARTS if (value := _text(_part(given, "name"), part))}:
        body["name"] = name
    if emails := _emails(given):
        body["emails"] = emails
    company = _part(given, ENTERPRISE)
    if kept := {name: value for name in _COMPANY if (value := _text(company, name))}:
        body["company"] = kept
    if manager := _manager(company):
        body["manager"] = manager
    return body


def read_group(given: Mapping[str, Any]) -> Json:
    """What is kept of a group; raises ScimProblem invalidValue naming the attribute."""
    name = _text(given, "displayName")
    if not name:
        raise wrong_value("displayName: is required")
    body: Json = {"displayName": name, "members": _members(given)}
    if external := _text(given, "externalId"):
        body["externalId"] = external
    return body


def shown(resource: Resource, *, base: str, created: datetime | None = None) -> Json:
    """The resource as RFC 7643 writes it; `base` is the address of the service."""
    made = _plain_user(resource.body) if resource.kind == USER else _plain_group(resource.body, base=base)
    return {
        **made,
        "id": str(resource.id),
        "meta": {
            "resourceType": resource.kind,
            "created": (created or created_at(resource.id)).isoformat(),
            "lastModified": resource.changed.isoformat(),
            "location": f"{base}/{ENDPOINTS[resource.kind]}/{resource.id}",
            "version": etag(resource),
        },
    }


def plain(resource: Resource) -> Json:
    """The resource without what the service adds, for a PATCH to change."""
    return _plain_user(resource.body) if resource.kind == USER else _plain_group(resource.body, base="")


def etag(resource: Resource) -> str:
    return f'W/"{resource.version}"'


def created_at(resource: UUID) -> datetime:
    """From the id, which holds the milliseconds at which it was made (RFC 9562, UUID version 7)."""
    milliseconds = resource.int >> 80
    return datetime.fromtimestamp(milliseconds / 1000).astimezone()


def narrowed(resource: Json, *, only: Sequence[str], without: Sequence[str]) -> Json:
    """The attributes asked for (RFC 7644, section 3.9); id, schemas and meta are always there."""
    always = {"id", "schemas", "meta"}
    wanted, unwanted = ({one.lower().partition(".")[0] for one in names} for names in (only, without))
    return {
        name: value
        for name, value in resource.items()
        if name in always or ((not wanted or name.lower() in wanted) and name.lower() not in unwanted)
    }


def _plain_user(body: Mapping[str, Any]) -> Json:
    company = {**body.get("company", {}), **({"manager": {"value": body["manager"]}} if body.get("manager") else {})}
    made = {name: value for name, value in body.items() if name not in ("company", "manager")}
    schemas = [f"{CORE}User", *([ENTERPRISE] if company else [])]
    return {"schemas": schemas, **made, **({ENTERPRISE: company} if company else {})}


def _plain_group(body: Mapping[str, Any], *, base: str) -> Json:
    members = [{"value": one, **({"$ref": f"{base}/Users/{one}", "type": "User"} if base else {})} for one in body.get("members", ())]
    return {"schemas": [f"{CORE}Group"], **body, "members": members}


def _text(given: Mapping[str, Any], name: str) -> str:
    value = _get(given, name)
    if value is None:
        return ""
    if not isinstance(value, str) or len(value) > LONGEST or "\0" in value:
        raise wrong_value(f"{name}: should be a text of at most {LONGEST} characters")
    return value.strip()


def _bool(given: Mapping[str, Any], name: str) -> bool:
    """Present or not means active; Entra ID writes the words True and False."""
    value = _get(given, name)
    if isinstance(value, str) and value.lower() in ("true", "false"):
        return value.lower() == "true"
    if value is not None and not isinstance(value, bool):
        raise wrong_value(f"{name}: should be true or false")
    return value is not False


def _part(given: Mapping[str, Any], name: str) -> Mapping[str, Any]:
    value = _get(given, name)
    if value is not None and not isinstance(value, dict):
        raise wrong_value(f"{name}: should be an object")
    return value or {}


def _list(given: Mapping[str, Any], name: str, *, most: int) -> list[Mapping[str, Any]]:
    value = _get(given, name)
    items = value if isinstance(value, list) else [] if value is None else [value]
    if len(items) > most or not all(isinstance(one, dict) for one in items):
        raise wrong_value(f"{name}: should be a list of at most {most} objects")
    return items


def _emails(given: Mapping[str, Any]) -> list[Json]:
    """Addresses in lower case, because people are found by them."""
    found = []
    for one in _list(given, "emails", most=MOST_EMAILS):
        value = _text(one, "value").lower()
        if value and "@" not in value:
            raise wrong_value(f"emails: {value[:80]!r} is no e-mail address")
        if value:
            kind = _text(one, "type")
            found.append({"value": value} | ({"type": kind} if kind else {}) | ({"primary": True} if _get(one, "primary") is True else {}))
    return found


def _members(given: Mapping[str, Any]) -> list[str]:
    """The members' ids, each once, in their order."""
    found: dict[str, None] = {}
    for one in _list(given, "members", most=MOST_MEMBERS):
        if _text(one, "type").lower() == "group":
            raise wrong_value("members: a group cannot be in a group here; let the directory send the people in it")
        try:
            found[str(UUID(_text(one, "value")))] = None
        except ValueError:
            raise wrong_value(f"members: {_text(one, 'value')[:80]!r} is no id of a user") from None
    return list(found)


def _manager(company: Mapping[str, Any]) -> str:
    """The manager's id; an object with a value, or, from some directories, the value alone."""
    value = _get(company, "manager")
    text = _text(value, "value") if isinstance(value, dict) else value or ""
    try:
        return str(UUID(text)) if text else ""
    except (ValueError, TypeError, AttributeError):
        raise wrong_value("manager: should be the id of a user") from None


def _zone(written: str) -> str:
    try:
        return zone_of(written).key
    except ValueError:
        raise wrong_value(f"timezone: {written[:40]!r} is not known, for instance Europe/Berlin") from None


def _get(given: Mapping[str, Any], name: str) -> Any:
    return next((value for key, value in given.items() if key.lower() == name.lower()), None)
