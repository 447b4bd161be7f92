"""Which addresses show each page of the console, and to whom; a page without one fails by name."""

from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass
from typing import Final

from fastapi import FastAPI

from bot.console.operationpages import TABS
from tests.matrix.surfaces import routes_of
from tests.stories.galleries import Gallery

_PROGRAMS: Final = ("/api/", "/scim/", "/live", "/ready", "/metrics")


@dataclass(frozen=True)
class Stop:
    """One address, in which `{name}` is one of the gallery's places; nobody is signed in where there is no `who`."""

    name: str
    path: str
    who: str = "max"
    status: int = 200

    def at(self, gallery: Gallery) -> str:
        return self.path.format(**gallery.places)


PAGES: Final[Mapping[str, Sequence[Stop]]] = {
    "/": (
        Stop("room", "/?channel=deploys", "lin"),
        Stop("room-alerts", "/?channel=incidents", "lin"),
        Stop("room-alone", "/?channel=", "lin"),
        Stop("room-form", "/?channel=ops&form=ship", "ada"),
        Stop("room-empty", "/?channel=ops", "eve"),
    ),
    "/inbox": (
        Stop("inbox", "/inbox", "lin"),
        Stop("inbox-asked", "/inbox?tab=asked", "ada"),
        Stop("inbox-done", "/inbox?tab=done", "lin"),
        Stop("inbox-empty", "/inbox", "eve"),
    ),
    "/runs": (
        Stop("runs", "/runs"),
        Stop("runs-coming", "/runs?coming=1"),
        Stop("runs-none", "/runs?q=nothing-is-like-this"),
        Stop("problem-filter", "/runs?argument=prod", status=422),
    ),
    "/runs/{reference}": (
        Stop("run-succeeded", "/runs/{succeeded}"),
        Stop("run-rolled-back", "/runs/{rolled_back}"),
        Stop("run-not-undone", "/runs/{rollback_failed}"),
        Stop("run-denied", "/runs/{denied}"),
        Stop("run-unclear", "/runs/{interrupted}", "ada"),
        Stop("run-deciding", "/runs/{awaiting_approval}", "kim"),
        Stop("run-waiting", "/runs/{waiting}", "ada"),
        Stop("run-answered", "/runs/{answered}", "ada"),
        Stop("run-broken", "/runs/{broken}", "kim"),
        Stop("run-critical", "/runs/{critical}", "kim"),
        Stop("problem-run", "/runs/99999", status=404),
    ),
    "/ask": (
        Stop("ask", "/ask", "ada"),
        Stop("ask-form", "/ask?command=ship&a.service=api&a.version=v3&a.env=prod", "ada"),
        Stop("ask-secret", "/ask?command=wipe"),
    ),
    "/audit": (Stop("audit", "/audit"), Stop("audit-run", "/audit?run={succeeded}"), Stop("problem-audit", "/audit", "ada", 403)),
    "/audit/events/{event_id}": (Stop("event", "/audit/events/{event}"), Stop("event-erased", "/audit/events/{erased}")),
    "/audit/runs/{reference}": (Stop("as-of", "/audit/runs/{succeeded}"),),
    "/people": (Stop("people", "/people"), Stop("people-oneself", "/people", "ada")),
    "/people/{name}": (Stop("person", "/people/lin"), Stop("person-elsewhere", "/people/{elsewhere}")),
    "/access": (Stop("access", "/access"),),
    "/policy": (Stop("policy", "/policy"), Stop("policy-compared", "/policy?compare={policy}"), Stop("policy-own", "/policy", "ada")),
    "/operations": tuple(Stop(f"operations-{tab or 'health'}", f"/operations?tab={tab}") for tab in TABS),
    "/numbers": (Stop("numbers", "/numbers"),),
    "/catalogue": (Stop("catalogue", "/catalogue"),),
    "/passkeys": (Stop("passkeys", "/passkeys", "lin"),),
    "/sessions": (Stop("sessions", "/sessions", "lin"), Stop("sessions-everybody", "/sessions?of=everybody")),
    "/sign-in": (Stop("sign-in", "/sign-in?next=/inbox", ""), Stop("problem-signed-out", "/inbox", "", 401)),
    "/enter/{token}": (Stop("enter", "/enter/{link}", ""), Stop("enter-dead", "/enter/none", "", 410)),
}
FIRST: Final = frozenset(several[0] for several in PAGES.values())
"""One address of each page, where one is enough."""
OTHERS: Final[Mapping[str, str]] = {
    "/runs/{reference}/artifacts/{name}": "a file, to save",
    "/runs/{reference}/plan.svg": "a picture on the page of a run",
    "/runs/{reference}/signing": "for our script",
    "/console/events": "a stream",
    "/room/events": "a stream",
    "/numbers/{name}.csv": "a file, to save",
    "/static/{name}": "scripts and styles",
    "/sign-in/oidc": "leads away to the issuer",
    "/sign-in/back": "leads back, or shows the page of `/sign-in`",
}
"""What a browser gets from us that is no page."""


def shown(app: FastAPI) -> set[str]:
    """Every path that a browser can open, as the application itself knows them."""
    paths = {route.removeprefix("GET ") for route in routes_of(app) if route.startswith("GET ")}
    return {one for one in paths if not one.startswith(_PROGRAMS)}


def stops() -> Iterator[Stop]:
    for several in PAGES.values():
        yield from several
