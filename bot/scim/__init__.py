"""The SCIM 2.0 door (RFC 7643, RFC 7644): a directory says who belongs to the company and to which groups; workers make it so."""

from .routes import mount as mount
from .routes import router as router
