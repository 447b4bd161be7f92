"""The door for other systems: `POST /hooks/{id}`."""

from .routes import PREFIX as PREFIX
from .routes import open_hooks as open_hooks
