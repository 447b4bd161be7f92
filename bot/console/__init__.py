"""The browser's chat room: one page that works without JavaScript, kept live by server-sent events."""

from .pages import is_page, problem_page
from .routes import mount

__all__ = ["is_page", "mount", "problem_page"]
