"""The commands that the caller may run, each with the JSON Schema of its arguments."""

from typing import Annotated, Any

from fastapi import APIRouter, Depends

from commands.authorizing import Request
from countersign.commands import Command
from countersign.invocations import Door, Place

from .callers import READ, Caller, caller_with

router = APIRouter(prefix="/commands", tags=["commands"])


@router.get("")
async def show(caller: Annotated[Caller, Depends(caller_with(READ))]) -> dict[str, Any]:
    """What you may run, by name."""
    rulebook = await caller.hub.rulebook()
    request = Request(permission="countersign:use", door=Door.api, place=Place("api"))
    return {"items": [_as_json(one, rulebook.choices) for one in rulebook.commands_for(caller.person, request)], "next": None}


def _as_json(command: Command, choices: dict[str, tuple[str, ...]]) -> dict[str, Any]:
    return {
        "name": command.name,
        "summary": command.summary,
        "help": command.help,
        "usage": command.usage,
        "kind": command.kind,
        "risk": command.risk.name,
        "permission": command.permission,
        "owner": command.owner,
        "arguments": command.schema.json_schema(),
        "inputs": [one.model_dump(mode="json") for one in command.schema.inputs({}, choices=choices)],
    }
