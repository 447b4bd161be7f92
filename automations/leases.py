"""Renews this process's leases from a thread with its own connection, and ends the process when its event loop is stuck.

A worker begins by ending the leases of the one before it in its slot: the supervisor has seen that one die. What that one had written on
the slate of the slot is taken into the journal first, so that whoever goes on with its runs finds as few calls in doubt as can be.
"""

import logging
import os
import threading
import time
from asyncio import AbstractEventLoop
from typing import Any, Final
from uuid import UUID

import psycopg

from store.claims import RELEASE_PLAIN, RENEW_PLAIN
from store.databases import CONNECT_SECONDS, WORKER_OPTIONS, plain_url
from store.lastwords import take_last_words
from store.workers import NOTE_PLAIN

from .slates import Slate

_log = logging.getLogger(__name__)
STUCK_SECONDS: Final = 60.0
AWAY_SECONDS: Final = 30.0
AGAIN_SECONDS: Final = 0.2


def end_dead(url: str, *, worker: str, parent: int, slate: Slate) -> int:
    """Ends the leases of the processes that were in this worker's slot before it, and wakes others for their runs; returns how many.

    The slate is signed by this worker when it returns.

    A Postgres that is away is waited for, so that a short outage does not end every worker of a host; raises psycopg.Error after
    30 s, or at once when `parent`, the supervisor, is gone.
    """
    slot, until = worker.rpartition(":")[0] + ":", time.monotonic() + AWAY_SECONDS
    waited = False
    while True:
        try:
            with psycopg.connect(plain_url(url), autocommit=True, connect_timeout=CONNECT_SECONDS, options=WORKER_OPTIONS) as connection:
                _take_words(connection, slate)
                connection.execute(NOTE_PLAIN, {"name": worker, "role": worker.split(":")[-2]})
                row = connection.execute(RELEASE_PLAIN, {"slot": slot, "but": worker}).fetchone()
                slate.begin(worker)
                return int(row[0]) if row else 0
        except psycopg.OperationalError as error:
            if time.monotonic() > until or os.getppid() != parent:
                raise
            if not waited:
                _log.warning("Postgres is waited for: %s", type(error).__name__)
                waited = True
            time.sleep(AGAIN_SECONDS)


def _take_words(connection: psycopg.Connection[Any], slate: Slate) -> None:
    if (words := slate.read()) is not None:
        not_made, ended = take_last_words(connection, words.worker, words.calls)
        if not_made or ended:
            _log.warning("%s died; calls it had begun and not made: %d, calls whose end it left: %d", words.worker, not_made, ended)


class Leases(threading.Thread):
    """Renews the leases of the runs in `held` at a third of the lease.

    A loop that has not answered for a minute is stuck in somebody's blocking call: we then let go.
    """

    def __init__(self, url: str, *, worker: str, lease: float, held: set[UUID]) -> None:
        super().__init__(name="leases", daemon=True)
        self._url, self._worker, self._lease = plain_url(url), worker, lease
        self._held = held
        self._ended = threading.Event()
        self._loop: AbstractEventLoop | None = None
        self._answered = time.monotonic()

    def watch(self, loop: AbstractEventLoop) -> None:
        """The loop that has to stay alive."""
        self._answered = time.monotonic()
        self._loop = loop

    def end(self) -> None:
        self._ended.set()

    def run(self) -> None:
        while not self._ended.is_set():
            try:
                with psycopg.connect(self._url, autocommit=True, connect_timeout=2, application_name="countersign-leases") as connection:
                    self._renew_until_ended(connection)
            except psycopg.Error as error:
                _log.warning("leases could not be renewed: %s", type(error).__name__)
                self._ended.wait(0.5)

    def _renew_until_ended(self, connection: psycopg.Connection[tuple[object, ...]]) -> None:
        connection.execute("SET statement_timeout = '3s'")
        while not self._ended.wait(self._lease / 3):
            self._check_loop()
            if held := list(self._held):
                connection.execute(RENEW_PLAIN, {"ids": held, "worker": self._worker, "lease": f"{self._lease} seconds"})

    def _check_loop(self) -> None:
        if self._loop is None:
            return
        if time.monotonic() - self._answered > STUCK_SECONDS:
            _log.critical("the event loop has been stuck for %.0f s; this process ends so that its runs can go on elsewhere", STUCK_SECONDS)
            os._exit(70)
        self._loop.call_soon_threadsafe(self._answer)

    def _answer(self) -> None:
        self._answered = time.monotonic()
