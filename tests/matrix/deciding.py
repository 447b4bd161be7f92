"""What a cell of the tables means, and how it is found out what became of a try: from the answer, and from what the record says."""

from collections import Counter
from collections.abc import Sequence
from dataclasses import dataclass, field

from tests.matrix.doors import ACCOUNTS, DOOR_OF, Shown
from tests.matrix.tables import PERSONAS
from tests.matrix.towns import ENTITLED, NAMES, PRIVATE, Town

HIDDEN = ("There is no such run.", "There is no such request.", "There is no such grant of yours.")
_STRANGERS = ("nobody", "guest", "outsider")


@dataclass
class Record:
    """What the audit gained while a row was tried: refusals by who was refused and at which door, and how much noise was counted."""

    refusals: Counter[tuple[str, str]]
    noise: int


class Recorder:
    """Reads what the audit gained since the last time."""

    def __init__(self, town: Town) -> None:
        self._town, self.seq, self._noise = town, 0, 0

    async def gained(self) -> Record:
        rows = await self._town.rows(
            "SELECT seq, kind, actor, audit_detail(canonical, payload) AS detail FROM audit_events WHERE seq > :seq ORDER BY seq",
            seq=self.seq,
        )
        self.seq = rows[-1].seq if rows else self.seq
        noise, self._noise = self._noise, self._town.noise()
        refused = [one for one in rows if one.kind.endswith(":refused") or (one.kind == "control:asked" and one.detail.get("refused"))]
        return Record(Counter((one.actor, str(one.detail.get("door"))) for one in refused), self._noise - noise)


@dataclass
class Try:
    """What one persona was shown on one way in."""

    persona: str
    way: str
    shown: Shown


@dataclass
class Verdicts:
    """What is wrong with one row, in sentences."""

    place: str
    what: str
    problems: list[str] = field(default_factory=list)

    def say(self, problem: str) -> None:
        self.problems.append(f"{self.place}, {self.what}: {problem}")

    def check_secrecy(self, tries: Sequence[Try]) -> None:
        """Nothing of a private run is shown to anybody who may not read it, whatever was tried."""
        for one in tries:
            if one.persona not in ENTITLED and PRIVATE in one.shown.text:
                self.say(f"{one.persona} by {one.way} was shown what is private: {one.shown.text[:2_000]}")

    def check_record(self, tries: Sequence[Try], refused: Sequence[Try], record: Record, *, noise_too: bool = False) -> None:
        """Each refusal left exactly one row that names who was refused, or was counted where nobody is known; nothing else did.

        `noise_too` says that those are counted as well who got another answer than 401.
        """
        known = [one for one in refused if not is_noise(one)]
        wanted = Counter((actor_of(one), DOOR_OF.get(one.way, one.way)) for one in known)
        if wanted != record.refusals:
            self.say(f"refusals in the record: {dict(record.refusals)}; expected: {dict(wanted)}")
        noise = sum(is_noise(one) or noise_too for one in tries)
        if noise != record.noise:
            self.say(f"{record.noise} refusals of nobody known were counted, not {noise}")


def is_noise(one: Try) -> bool:
    """Whether whoever was refused could not even be told apart from anybody else."""
    return one.shown.status == 401


def actor_of(one: Try) -> str:
    """The name that the record uses: whoever is nobody here is called by their account, a service account in Slack too."""
    known = NAMES.get(one.persona)
    if known is None or (one.persona == "service" and DOOR_OF.get(one.way, one.way) == "slack"):
        return "slack:{}:{}".format(*ACCOUNTS[one.persona])
    return known


def personas(expected: dict[str, str]) -> list[str]:
    """Those that have a decision to be tried."""
    assert set(expected) == set(PERSONAS), expected
    return [one for one in PERSONAS if expected[one] != "-"]
