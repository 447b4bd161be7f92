"""Problem details (RFC 9457): every error of the API is one sentence, one word a program can act on, and the request's id."""

from dataclasses import dataclass, field
from http import HTTPStatus
from typing import Any, Final

from starlette.exceptions import HTTPException
from starlette.requests import Request
from starlette.responses import JSONResponse

from bot.deadlines import NotConfirmed, NothingDone
from commands.policies import PolicyError
from commands.sites import WrongPasskey
from countersign.errors import BadArgument, CountersignError

MEDIA_TYPE: Final = "application/problem+json"
# What the audit calls a refusal, and the status that says the same in HTTP; any other word is a 403.
_STATUS: Final = {
    "not_found_or_foreign": 404,
    "unknown_command": 404,
    "digest_mismatch": 409,
    "late_click": 409,
    "wrong_challenge": 409,
    "dup_vote": 409,
    "nothing_to_decide": 409,
    "expired": 409,
    "nothing_changed": 409,
    "nothing_to_answer": 409,
    "nothing_to_take_back": 409,
    "has_voted": 409,
    "missing_arguments": 422,
    "unknown_person": 422,
    "wrong_argument": 422,
    "not_understood": 422,
    "secret_in_chat": 422,
}


@dataclass
class Problem(Exception):
    """An answer that is an error; `detail` is one sentence for the caller, `reason` one word for programs."""

    status: int
    reason: str
    detail: str
    extra: dict[str, Any] = field(default_factory=dict)
    headers: dict[str, str] = field(default_factory=dict)


def refused(reason: str, sentence: str, **extra: Any) -> Problem:
    """The problem for a refusal of a use case."""
    return Problem(_STATUS.get(reason.partition(":")[0], 403), reason, sentence, extra)


def problem_of(error: Exception) -> Problem:
    """What to answer when a handler raised this."""
    if isinstance(error, Problem):
        return error
    if isinstance(error, HTTPException):
        return _of_http(error)
    if isinstance(error, NothingDone | NotConfirmed):
        reason = "nothing_done" if isinstance(error, NothingDone) else "not_confirmed"
        return Problem(503, reason, str(error), headers={"retry-after": "5"})
    if isinstance(error, PolicyError):
        return Problem(503, "no_policy", f"{str(error)[:1].upper()}{str(error)[1:]}.", headers={"retry-after": "5"})
    if isinstance(error, BadArgument):
        return Problem(422, "wrong_argument", str(error), {"argument": error.argument})
    if isinstance(error, WrongPasskey):
        return Problem(_STATUS.get(error.reason, 422), error.reason, str(error))
    if isinstance(error, CountersignError):
        return Problem(422, "refused", str(error))
    return Problem(500, "internal", "Something broke on our side; it is in the log under this request's id.")


def response_of(request: Request, problem: Problem) -> JSONResponse:
    """The problem as `application/problem+json`."""
    body = {
        "type": f"urn:countersign:problem:{problem.reason}",
        "title": HTTPStatus(problem.status).phrase,
        "status": problem.status,
        "detail": problem.detail,
        "reason": problem.reason,
        "request": request.scope.get("state", {}).get("trace", ""),
        **problem.extra,
    }
    return JSONResponse(body, problem.status, headers=problem.headers, media_type=MEDIA_TYPE)


def _of_http(error: HTTPException) -> Problem:
    sentences = {404: ("not_found", "There is nothing at this address."), 405: ("wrong_method", "This address does not take this method.")}
    reason, sentence = sentences.get(error.status_code, ("refused", str(error.detail)))
    return Problem(error.status_code, reason, sentence, headers=dict(error.headers or {}))
