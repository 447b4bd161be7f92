"""The REST API as the command line uses it: JSON out, JSON in, and one sentence when the hub says no."""

from collections.abc import Iterator, Mapping
from typing import Any, Final
from uuid import uuid4

import httpx

from .endings import Failed, WrongCall
from .identities import Identity

API: Final = "/api/v1"
SECONDS: Final = 10.0
# What the caller can put right by calling differently.
_WRONG_CALLS: Final = frozenset(
    {"missing_arguments", "not_understood", "wrong_argument", "unknown_command", "wrong_body", "wrong_parameter"}
)


class Client:
    """Speaks to one hub with one token. Raises Failed with a sentence for everything that goes wrong, WrongCall for a wrong call."""

    def __init__(self, identity: Identity) -> None:
        self.url = identity.url
        self._http = httpx.Client(
            base_url=identity.url + API,
            headers={"authorization": f"Bearer {identity.token}", "accept": "application/json"},
            timeout=SECONDS,
            trust_env=False,
        )

    def get(self, path: str, **parameters: Any) -> Any:
        """The JSON at this path below /api/v1; parameters that are None are left out."""
        given = {name: value for name, value in parameters.items() if value is not None}
        return self._read("GET", path, params=given)

    def post(self, path: str, body: Mapping[str, Any]) -> Any:
        """Sends JSON and returns JSON; a request that carries its own key is sent once more when no answer comes."""
        keyed = bool(body.get("key") or body.get("idempotency_key"))
        return self._read("POST", path, again=keyed, json=dict(body))

    def events(self, path: str, **parameters: Any) -> Iterator[tuple[str, str]]:
        """Name and data of each server-sent event as it comes; ends when the hub ends the stream. Raises httpx.HTTPError."""
        with self._http.stream("GET", path, params=parameters, timeout=httpx.Timeout(SECONDS, read=60.0)) as response:
            if response.is_client_error:
                response.read()
                raise _failure(response)
            response.raise_for_status()
            name, data = "", list[str]()
            for line in response.iter_lines():
                if line.startswith("event:"):
                    name = line.removeprefix("event:").strip()
                elif line.startswith("data:"):
                    data.append(line.removeprefix("data:").removeprefix(" "))
                elif not line and data:
                    yield name, "\n".join(data)
                    name, data = "", []

    def fetch(self, path: str) -> bytes:
        """The bytes at this path below /api/v1."""
        return self._ask("GET", path, timeout=httpx.Timeout(SECONDS, read=60.0)).content

    def close(self) -> None:
        self._http.close()

    def _read(self, method: str, path: str, *, again: bool = False, **options: Any) -> Any:
        return _json(self._ask(method, path, again=again, **options))

    def _ask(self, method: str, path: str, *, again: bool = False, **options: Any) -> httpx.Response:
        try:
            response = self._http.request(method, path, **options)
        except httpx.ConnectError:
            raise Failed(f"No hub answers at {self.url}; countersign up starts one, COUNTERSIGN_URL says where it is.") from None
        except httpx.HTTPError as error:
            if again:
                return self._ask(method, path, **options)
            raise Failed(f"The hub at {self.url} gave no answer ({type(error).__name__}); it may have been done all the same.") from None
        if response.is_success:
            return response
        raise _failure(response)


def new_key() -> str:
    """An idempotency key for one request of a person at a terminal."""
    return f"cli:{uuid4()}"


def _json(response: httpx.Response) -> Any:
    try:
        return response.json()
    except ValueError:
        raise Failed(f"{response.url.copy_with(query=None)} does not answer as a Countersign hub does.") from None


def _failure(response: httpx.Response) -> Failed | WrongCall:
    try:
        problem = response.json()
        sentence, reason = str(problem["detail"]), str(problem.get("reason", ""))
    except (ValueError, KeyError, TypeError, AttributeError):
        return Failed(f"The hub answered {response.status_code} {response.reason_phrase}.")
    return WrongCall(sentence) if reason in _WRONG_CALLS else Failed(sentence)
