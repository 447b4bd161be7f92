"""What the service says about itself (RFC 7643, sections 5 to 7): what it can, which resources it has, and what is kept of each."""

from typing import Any, Final

from .resources import CORE, ENTERPRISE

MOST: Final = 200
LIST: Final = "urn:ietf:params:scim:api:messages:2.0:ListResponse"
_META: Final = "urn:ietf:params:scim:schemas:core:2.0:"

Json = dict[str, Any]


def service(base: str) -> Json:
    """ServiceProviderConfig: PATCH, filters and ETags; no bulk, no sorting, no passwords."""
    no: Json = {"supported": False}
    return {
        "schemas": [f"{_META}ServiceProviderConfig"],
        "patch": {"supported": True},
        "bulk": {**no, "maxOperations": 0, "maxPayloadSize": 0},
        "filter": {"supported": True, "maxResults": MOST},
        "changePassword": no,
        "sort": no,
        "etag": {"supported": True},
        "authenticationSchemes": [
            {
                "type": "oauthbearertoken",
                "name": "Bearer token",
                "description": "A token made with: countersign directory token",
                "primary": True,
            }
        ],
        "meta": {"resourceType": "ServiceProviderConfig", "location": f"{base}/ServiceProviderConfig"},
    }


def resource_types(base: str) -> list[Json]:
    """User and Group."""
    return [_type("User", "Users", base, [{"schema": ENTERPRISE, "required": False}]), _type("Group", "Groups", base, [])]


def schemas(base: str) -> list[Json]:
    """The attributes that are kept; what else a directory sends is not."""
    name = _attribute("name", "complex", parts=[_attribute(one) for one in ("formatted", "givenName", "familyName")])
    emails = _attribute("emails", "complex", many=True, parts=[_attribute("value"), _attribute("type"), _attribute("primary", "boolean")])
    members = _attribute("members", "complex", many=True, parts=[_attribute("value", required=True), _attribute("type")])
    manager = _attribute("manager", "complex", parts=[_attribute("value")])
    user = [_attribute("userName", required=True, unique="server"), _attribute("active", "boolean"), name, emails]
    user += [_attribute(one) for one in ("externalId", "displayName", "title", "timezone")]
    company = [_attribute(one) for one in ("employeeNumber", "department", "division", "organization", "costCenter")]
    return [
        _schema(f"{CORE}User", "User", user, base),
        _schema(f"{CORE}Group", "Group", [_attribute("displayName", required=True), _attribute("externalId"), members], base),
        _schema(ENTERPRISE, "EnterpriseUser", [manager, *company], base),
    ]


def page(items: list[Json], *, total: int, start: int) -> Json:
    """A ListResponse."""
    return {"schemas": [LIST], "totalResults": total, "startIndex": start, "itemsPerPage": len(items), "Resources": items}


def _type(name: str, endpoint: str, base: str, extensions: list[Json]) -> Json:
    return {
        "schemas": [f"{_META}ResourceType"],
        "id": name,
        "name": name,
        "endpoint": f"/{endpoint}",
        "schema": f"{CORE}{name}",
        "schemaExtensions": extensions,
        "meta": {"resourceType": "ResourceType", "location": f"{base}/ResourceTypes/{name}"},
    }


def _schema(urn: str, name: str, attributes: list[Json], base: str) -> Json:
    return {
        "schemas": [f"{_META}Schema"],
        "id": urn,
        "name": name,
        "attributes": attributes,
        "meta": {"resourceType": "Schema", "location": f"{base}/Schemas/{urn}"},
    }


def _attribute(
    name: str,
    kind: str = "string",
    *,
    many: bool = False,
    required: bool = False,
    unique: str = "none",
    parts: list[Json] | None = None,
) -> Json:
    made: Json = {
        "name": name,
        "type": kind,
        "multiValued": many,
        "required": required,
        "caseExact": False,
        "mutability": "readWrite",
        "returned": "default",
        "uniqueness": unique,
    }
    return made | ({"subAttributes": parts} if parts else {})
