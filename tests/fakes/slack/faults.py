"""What goes wrong on Slack's side: on demand, by rate, by lifetime."""

import math
import random
from collections import deque
from dataclasses import dataclass, field

from tests.fakes.slack.worlds import Channel, Clock, Json, Message, SlackSays, World

# "429", "500" and "drop" strike before the call is done; those with _after when it is done but the answer gets lost.
MODES = ("429", "500", "drop", "hang", "500_after", "drop_after", "hang_after")
TRIGGER_LIFE = 3.0
HOOK_LIFE = 30 * 60.0
HOOK_USES = 5


@dataclass(frozen=True)
class Fault:
    """One failure to come: a mode of MODES, or an error code that Slack shall answer with."""

    mode: str
    retry_after: int = 1


class Faults:
    """The failures that a test has ordered, per method, and those that come by chance."""

    def __init__(self) -> None:
        self._ordered: dict[str, deque[Fault]] = {}
        self._chances: tuple[random.Random, float, tuple[str, ...], frozenset[str]] | None = None
        self.struck = 0

    def strew(self, seed: int, share: float, modes: tuple[str, ...], methods: frozenset[str]) -> None:
        """From now on this share of the calls of these methods fails, each in one of the modes; a share of 0 ends it."""
        self._chances = (random.Random(seed), share, modes, methods) if share else None

    def order(self, method: str, fault: Fault, times: int) -> None:
        self._ordered.setdefault(method, deque()).extend([fault] * times)

    def take(self, method: str) -> Fault | None:
        if ordered := self._ordered.get(method):
            return ordered.popleft()
        if self._chances is None:
            return None
        chance, share, modes, methods = self._chances
        if method not in methods or chance.random() >= share:
            return None
        self.struck += 1
        return Fault(chance.choice(modes))


class RateLimits:
    """Token buckets: one message a second and channel, and so many calls a minute for each method."""

    def __init__(self, clock: Clock, *, posts_per_second: float, enabled: bool) -> None:
        self.enabled, self.tiers = enabled, True
        self.posts_per_second = posts_per_second
        self._clock = clock
        self._buckets: dict[str, tuple[float, float]] = {}

    def wait_for(self, key: str, *, per_second: float, burst: float) -> int | None:
        """Take one token; return None, or the whole seconds to wait when the bucket is empty."""
        if not self.enabled:
            return None
        now = self._clock.now()
        level, seen = self._buckets.get(key, (burst, now))
        level = min(burst, level + (now - seen) * per_second)
        if level < 1:
            self._buckets[key] = (level, now)
            return max(1, math.ceil((1 - level) / per_second))
        self._buckets[key] = (level - 1, now)
        return None


class Triggers:
    """trigger_ids: three seconds, once (docs.slack.dev/interactivity/handling-user-interaction)."""

    def __init__(self, world: World) -> None:
        self._world = world
        self._issued: dict[str, tuple[str, float]] = {}
        self._used: set[str] = set()

    def issue(self, user_id: str) -> str:
        trigger = self._world.mint("13579.")
        self._issued[trigger] = (user_id, self._world.clock.now() + TRIGGER_LIFE)
        return trigger

    def use(self, trigger: str) -> str:
        """Return whose trigger it is, and burn it. Raises SlackSays with the words of views.open."""
        if trigger not in self._issued:
            raise SlackSays("invalid_trigger_id")
        user_id, until = self._issued[trigger]
        if trigger in self._used:
            raise SlackSays("exchanged_trigger_id")
        if self._world.clock.now() > until:
            raise SlackSays("expired_trigger_id")
        self._used.add(trigger)
        return user_id


@dataclass
class Hook:
    """A response_url's memory: it works without channel membership, which is why it is a secret."""

    channel: Channel
    user: str
    until: float
    original: Message | None = None
    uses: int = 0
    answers: list[Json] = field(default_factory=list)


class Hooks:
    """response_urls: five uses within thirty minutes."""

    def __init__(self, world: World) -> None:
        self._world = world
        self._hooks: dict[str, Hook] = {}

    def issue(self, channel: Channel, user_id: str, *, original: Message | None = None) -> str:
        """Return the path of a new response_url."""
        secret = self._world.mint("hook")
        self._hooks[secret] = Hook(channel, user_id, self._world.clock.now() + HOOK_LIFE, original)
        return f"/actions/{self._world.team}/{secret}"

    def use(self, secret: str) -> Hook:
        """Count one use. Raises SlackSays `used_url` or `expired_url`."""
        hook = self._hooks.get(secret)
        if hook is None or self._world.clock.now() > hook.until:
            raise SlackSays("expired_url")
        if hook.uses >= HOOK_USES:
            raise SlackSays("used_url")
        hook.uses += 1
        return hook
