"""The roll: everybody at one moment, looked up by selector; a selector is looked up once, for however many requests."""

import hashlib
from collections.abc import Iterable, Sequence
from dataclasses import replace
from datetime import datetime

from countersign.approvals import Approval, Voters
from store.people import Person

from .audiences import Audience
from .rulebooks import Rulebook
from .voting import Matter, belongs, let_in


class Roll:
    """Gives the same answers as `voting.voters` and `voting.filled`, for whoever asks for many requests at once."""

    def __init__(self, rulebook: Rulebook, people: Iterable[Person], *, at: datetime) -> None:
        self.rulebook, self.at = rulebook, at
        self.people = {one.name: one for one in people}
        self._voting = [one for one in self.people.values() if one.active and not one.service]
        self._known: dict[tuple[str, str], frozenset[str]] = {}

    def voters(self, rule: Approval, matter: Matter, sets: Sequence[Voters]) -> list[Person]:
        """Everybody whose vote would count in one of the sets, by name."""
        out = frozenset() if rule.editor_may else matter.barred - {matter.asker}
        out |= frozenset() if rule.asker_may else {matter.asker}
        found = frozenset[str]().union(*(self._named(one, matter) for one in sets))
        return [self.people[name] for name in sorted(found - out)]

    def filled(self, rule: Approval, matter: Matter) -> Approval:
        """The rule with its fallbacks let in where too few are in a set."""
        if not any(stage.fallback for stage in rule.steps):
            return rule
        return replace(rule, stages=tuple(let_in(stage, lambda one: len(self.voters(rule, matter, [one]))) for stage in rule.steps))

    def summary(self, audience: Audience) -> str:
        """Who may vote at which of its stages, in short: another text as soon as somebody comes or goes, or enrols a first passkey."""
        matter = audience.matter(self.rulebook, at=self.at)
        told = hashlib.sha256()
        for stage in audience.stages:
            for voters in (*stage.sets, *(Voters((one,)) for one in (*stage.escalate_to, *stage.fallback))):
                names = sorted(self._named(voters, matter))
                told.update(repr([(name, name in self.rulebook.signers) for name in names]).encode())
        return told.hexdigest()[:16]

    def _named(self, voters: Voters, matter: Matter) -> frozenset[str]:
        found = frozenset[str]().union(*(self._selected(one, matter) for one in voters.of))
        for permission in voters.also:
            found &= self._selected(f"permission:{permission}", matter)
        return found

    def _selected(self, selector: str, matter: Matter) -> frozenset[str]:
        kind, _, name = selector.partition(":")
        if kind == "owner-of":
            owners = self.rulebook.policy.owners_of(name, matter.arguments.get(name))
            return frozenset[str]().union(*(self._selected(one, matter) for one in owners if not one.startswith("owner-of:")))
        if kind in ("person", "manager-of-requester"):
            person = self.people.get(name or matter.manager)
            return frozenset({person.name}) if person and person.active and not person.service else frozenset()
        key = (selector, matter.command.name if matter.command and kind == "permission" else "")
        if key not in self._known:
            one = Voters((selector,))
            self._known[key] = frozenset(person.name for person in self._voting if belongs(self.rulebook.policy, person, one, matter))
        return self._known[key]
