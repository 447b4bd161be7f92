"""The error tree. Every message is one sentence that is safe to show to the person who caused it."""


class CountersignError(Exception):
    """Something a person can act on; `str(error)` may be shown as it is."""


class BadArgument(CountersignError):
    """A value does not fit the argument it was given for; names the argument."""

    def __init__(self, argument: str, problem: str) -> None:
        super().__init__(f"{argument}: {problem}")
        self.argument = argument
        self.problem = problem


class MissingArguments(BadArgument):
    """Required arguments were not given; a door that can show a form asks for them."""

    def __init__(self, names: tuple[str, ...]) -> None:
        super().__init__(", ".join(names), "is required" if len(names) == 1 else "are required")
        self.names = names


class ActsWhilePlanning(CountersignError):
    """A planner called a method that changes the world; only steps may."""


class StepFailed(CountersignError):
    """What a step raises to say, in a sentence, why it could not do its work."""


class NothingDone(StepFailed):
    """A step's word that it failed before it changed anything, so that even one that is not idempotent may be begun again."""


class PlanRefused(CountersignError):
    """What a planner raises to say, in a sentence, why there is nothing to do or it must not be done."""


class Stopped(CountersignError):
    """A kill switch stands in the way; what is stopped is held back until the switch is off."""


class NotYet(CountersignError):
    """A call has to wait for its turn at an integration, longer than whoever makes it is kept for; it comes back in `seconds`."""

    def __init__(self, sentence: str, seconds: float) -> None:
        super().__init__(sentence)
        self.seconds = seconds
