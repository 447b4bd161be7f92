"""login: keeps a personal token for a hub."""

import getpass
import sys
from contextlib import closing

from .clients import Client
from .endings import WrongCall
from .identities import Identity, hub_url, keep_login


def login() -> None:
    """Keep a personal token for the hub at COUNTERSIGN_URL; it is asked for, or read from standard input. `token issue` makes one."""
    url = hub_url()
    token = (getpass.getpass(f"Token for {url}: ") if sys.stdin.isatty() else sys.stdin.readline()).strip()
    if not token.startswith("cs_api_") or not token.isascii():
        raise WrongCall("A personal token begins with cs_api_; an admin of the hub makes one with: countersign token issue PERSON")
    with closing(Client(Identity(url, token))) as client:
        person = client.get("/room/channels")["person"]
    print(f"You are {person} at {url}; the token is kept in {keep_login(url, token)}.")
