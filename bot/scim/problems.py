"""Errors as SCIM writes them (RFC 7644, section 3.12)."""

from typing import Any, Final

from starlette.requests import Request
from starlette.responses import JSONResponse

MEDIA_TYPE: Final = "application/scim+json"
_SCHEMA: Final = "urn:ietf:params:scim:api:messages:2.0:Error"


class ScimProblem(Exception):
    """An answer that is an error: one sentence, and the word that RFC 7644 gives it, if any."""

    def __init__(self, status: int, detail: str, kind: str = "", headers: dict[str, str] | None = None) -> None:
        super().__init__(detail)
        self.status, self.detail, self.kind, self.headers = status, detail, kind, headers or {}


def wrong_value(detail: str) -> ScimProblem:
    return ScimProblem(400, detail, "invalidValue")


def response_of(_: Request, problem: Exception) -> JSONResponse:
    """The problem as `application/scim+json`."""
    assert isinstance(problem, ScimProblem)  # noqa: S101  registered for nothing else
    body: dict[str, Any] = {"schemas": [_SCHEMA], "status": str(problem.status), "detail": problem.detail}
    if problem.kind:
        body["scimType"] = problem.kind
    return JSONResponse(body, problem.status, headers=problem.headers, media_type=MEDIA_TYPE)
