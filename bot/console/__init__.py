"""The browser's chat room: one page that works without JavaScript, kept live by server-sent events."""

from .issuers import open_issuer
from .pages import is_page, problem_page
from .routes import ROUTERS, mount
from .sessions import NOISE

__all__ = ["NOISE", "ROUTERS", "is_page", "mount", "open_issuer", "problem_page"]
