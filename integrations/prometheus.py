"""Prometheus: what a query says now, and a check by which a step can be guarded."""

from typing import Any, Final
from urllib.parse import urlencode, urlsplit

from pydantic import BaseModel, ConfigDict, Field, SecretStr, field_validator

from countersign import Context, Integration, StepFailed, reads, step

from .http import Http

LONGEST_QUERY: Final = 4_000
_PORTS: Final = {"http": 80, "https": 443}


class Prometheus(Integration):
    """Reads a Prometheus server, or what speaks its HTTP API v1 (https://prometheus.io/docs/prometheus/latest/querying/api/)."""

    class Settings(BaseModel):
        """`url`: where it is. `token`: a bearer token, if it wants one. `address`: its private address or network, if it has one; without
        it only public addresses are reached.
        """

        model_config = ConfigDict(frozen=True, extra="forbid")

        url: str = Field(examples=["https://prometheus.internal:9090"])
        token: SecretStr | None = None
        address: str = Field("", examples=["10.0.0.5"])

        @field_validator("url")
        @classmethod
        def _is_an_address(cls, value: str) -> str:
            parts = urlsplit(value)
            if parts.scheme not in _PORTS or not parts.hostname or parts.query or parts.username:
                raise ValueError("should be an address such as https://prometheus.internal:9090")
            return value.rstrip("/")

    def __init__(self, settings: Settings, *, http: Http | None = None) -> None:
        super().__init__(settings)
        parts = urlsplit(settings.url)
        listed = f"{parts.hostname}:{parts.port or _PORTS[parts.scheme]}"
        private = [f"{listed}={settings.address}"] if settings.address else []
        self._http = http or Http(Http.Settings(allow=[listed], private=private))

    @reads
    async def query(self, expression: str) -> list[float]:
        """The values of an instant query, one for each series; none when nothing matches. Raises StepFailed with a sentence."""
        if len(expression) > LONGEST_QUERY:
            raise StepFailed(f"a query should have at most {LONGEST_QUERY} characters")
        token = self.settings.token
        headers = {"authorization": f"Bearer {token.get_secret_value()}"} if token else {}
        address = f"{self.settings.url}/api/v1/query?{urlencode({'query': expression})}"
        answer = (await self._http.get(address, headers=headers, statuses=(200, 400, 422))).json()
        if not isinstance(answer, dict) or answer.get("status") != "success":
            told = answer.get("error", "") if isinstance(answer, dict) else ""
            raise StepFailed(f"Prometheus could not evaluate the query: {str(told)[:200] or 'it does not say why'}")
        try:
            return _values(answer["data"])
        except (KeyError, IndexError, TypeError, ValueError):
            raise StepFailed("the answer of Prometheus could not be read") from None

    async def health(self) -> None:
        await self.query("vector(1)")

    async def close(self) -> None:
        await self._http.close()


@step(reads=True, timeout="30s")
async def holds(ctx: Context, query: str) -> bool:
    """Whether a query says yes, as an alert's condition does: it gives at least one series, and none of them is 0.

    `release(…).guarded(holds("job:errors:rate5m{job='api'} < 0.01"), for_="10m")`
    """
    values = await ctx.use(Prometheus).query(query)
    return bool(values) and all(values)


def _values(data: Any) -> list[float]:
    """Of a vector or a scalar; other kinds of results are no instants."""
    if data["resultType"] == "scalar":
        return [float(data["result"][1])]
    if data["resultType"] != "vector":
        raise ValueError(data["resultType"])
    return [float(one["value"][1]) for one in data["result"]]
