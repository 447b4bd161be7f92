"""Everything through which somebody could reach the hub, found in the code itself: what is not found here cannot be reached."""

import typing
from collections.abc import Iterator, Sequence
from pathlib import Path
from typing import Any

from fastapi import FastAPI
from fastapi.routing import APIRoute
from slack_bolt.app.async_app import AsyncApp
from starlette.routing import BaseRoute, Mount, Route, WebSocketRoute
from typer import Typer

from bot.api import callers
from bot.cli.apps import app as command_line
from bot.hooks import PREFIX
from bot.presses import _HANDLERS as INTENTS
from bot.slack import PATH
from bot.slack.manifests import EVENTS
from bot.slack.requests import Kind
from bot.slack.submissions import _HANDLERS as FORMS
from commands.registries import load_registry
from countersign.commands import Command
from countersign.invocations import Door
from integrations.slack.roundtrips import FILL

SCOPES = (callers.READ, callers.SUBMIT, callers.DECIDE)
EXAMPLES = "countersign_deploys"
"""Commands of the example plugin, which a hub need not have."""


def routes_of(app: FastAPI) -> dict[str, str]:
    """`METHOD /path` of every route, those of mounted applications included, and where its code is."""
    found = {f"POST {PATH}": "the Slack door, which the application hands the path to"}
    found[f"POST {PREFIX}{{id}}"] = "the door for other systems, which the application hands the path to"
    for path, route in _routes(app.router.routes, ""):
        where = getattr(getattr(route, "endpoint", route), "__qualname__", str(route))
        if isinstance(route, WebSocketRoute) or not getattr(route, "methods", None):
            found[f"{type(route).__name__} {path}"] = str(where)
        else:
            for method in sorted(set(typing.cast(Route, route).methods or ()) - {"HEAD"}):
                found[f"{method} {path}"] = str(where)
    return found


def parameters_of(app: FastAPI) -> dict[str, list[str]]:
    """The names of the query parameters that each `GET /path` declares."""
    found: dict[str, list[str]] = {}
    for path, route in _routes(app.router.routes, ""):
        if isinstance(route, APIRoute) and "GET" in (route.methods or ()):
            found[f"GET {path}"] = [one.alias for one in route.dependant.query_params]
    return found


def commands_of(folder: Path, runbooks: Path) -> dict[str, Command]:
    """Every command of the registry but those of the examples."""
    known = load_registry(folder=folder, runbooks=runbooks).commands
    return {name: one for name, one in known.items() if not one.origin.startswith(EXAMPLES)}


def slack_surfaces(app: AsyncApp) -> dict[str, str]:
    """The kinds of requests that Slack sends, the events we subscribe to, the forms that are sent back, and Bolt's listeners."""
    kinds = dict.fromkeys(typing.get_args(Kind), "a kind of request from Slack")
    events = {f"event {one}": "an event that the manifest subscribes to" for one in EVENTS}
    forms = {f"form {one}": "a form that is sent back" for one in FORMS}
    forms[f"button {FILL}"] = "a button that opens the form of a command"
    listeners = {f"listener {one.ack_function.__name__}": "a listener of Bolt" for one in _listeners(app)}
    return kinds | events | forms | listeners


def command_lines() -> dict[str, str]:
    """Every command of the `countersign` program."""
    return dict(_lines(command_line, ""))


def doors() -> dict[str, str]:
    return {one.value: "a door" for one in Door}


def intents() -> dict[str, str]:
    """What a pressed button can mean."""
    return dict.fromkeys(INTENTS, "what a pressed button can mean")


def _routes(routes: Sequence[BaseRoute], prefix: str) -> Iterator[tuple[str, BaseRoute]]:
    for one in routes:
        path = prefix + str(getattr(one, "path", ""))
        if isinstance(one, Mount) and one.routes:
            yield from _routes(one.routes, path)
        elif (router := getattr(one, "original_router", None)) is not None:  # how FastAPI keeps a router that was included
            yield from _routes(router.routes, path + str(one.include_context.prefix))  # type: ignore[attr-defined]
        else:
            yield path, one


def _listeners(app: AsyncApp) -> list[Any]:
    return list(app._async_listeners)


def _lines(app: Typer, prefix: str) -> Iterator[tuple[str, str]]:
    for one in app.registered_commands:
        assert one.name, one
        yield f"{prefix}{one.name}", "a command of the program"
    for group in app.registered_groups:
        assert group.name, group
        assert group.typer_instance, group
        yield from _lines(group.typer_instance, f"{prefix}{group.name} ")
