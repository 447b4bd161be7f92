"""A plugin: the commands `deploy`, `rollout` and `deploys`, found through the entry point group `countersign.commands`."""

from .commands import check_health, deploy, deploys, release, rollout
from .fleets import Fleet
from .sites import Env

__all__ = ["Env", "Fleet", "check_health", "deploy", "deploys", "release", "rollout"]
