"""Every knob, from the environment only, frozen. A wrong value stops the boot with the variable's name and an example."""

from ipaddress import IPv4Network, IPv6Network, ip_network
from pathlib import Path
from typing import Any, Final, Literal, Self
from urllib.parse import urlsplit

from pydantic import Field, SecretStr, ValidationError, field_validator, model_validator
from pydantic_settings import BaseSettings, SettingsConfigDict

from countersign.labels import labels_in

PREFIX: Final = "COUNTERSIGN_"
LEAST_DAYS: Final = 30
LOOPBACK: Final = ("127.0.0.1", "localhost", "::1")
_EXAMPLES: Final = {
    "port": "8000",
    "database_url": "postgresql+psycopg://countersign_web:…@db.example.test/countersign",
    "migrate_database_url": "postgresql+psycopg://countersign_owner:…@db.example.test/countersign",
    "redis_url": "redis://localhost:6379/0",
    "data_dir": "/var/lib/countersign",
    "public_url": "https://countersign.example.test",
    "slack_signing_secret": "the 32 hexadecimal digits under Basic Information of your Slack app",
    "slack_bot_token": "xoxb-…",
    "slack_app_token": "xapp-…",
    "slack_api_url": "http://127.0.0.1:9000/api/",
    "slack_long_answers": "link",
    "log_format": "json",
    "lease_seconds": "15",
    "version_seconds": "60",
    "secret_key": "32 or more random characters",
    "metrics_token": "20 or more random characters",
    "delivery_days": "30",
    "otlp_endpoint": "http://127.0.0.1:4318",
    "log_days": "90",
    "artifact_days": "90",
    "message_days": "365",
    "run_days": "730",
    "artifacts": "s3://bucket/prefix",
    "trusted_proxies": "10.0.0.7, 10.1.0.0/16",
    "session_hours": "12",
    "oidc_issuer": "https://login.example.test",
    "oidc_hosts": "oauth2.example.test, keys.example.test",
    "session_idle_minutes": "120",
    "labels": "dc2, gpu",
}


class WrongSetting(Exception):
    """An environment variable cannot be used; the message names it and shows a right value."""


class Settings(BaseSettings):
    """The environment, each variable prefixed `COUNTERSIGN_`."""

    model_config = SettingsConfigDict(env_prefix=PREFIX, frozen=True, extra="ignore", hide_input_in_errors=True)

    port: int = Field(8000, ge=1, le=65_535)
    host: str = "127.0.0.1"
    database_url: str = ""
    migrate_database_url: str = ""
    listen_database_url: str = ""
    redis_url: SecretStr = SecretStr("")
    data_dir: Path = Path(".countersign")
    public_url: str = ""
    policy: Path | None = None
    secret_key: SecretStr = SecretStr("")
    slack_bot_token: SecretStr = SecretStr("")
    slack_signing_secret: SecretStr = SecretStr("")
    slack_app_token: SecretStr = SecretStr("")
    slack_api_url: str = "https://slack.com/api/"
    slack_long_answers: Literal["link", "file"] = "link"
    runbooks: Path | None = None
    commands: Path | None = None
    anchor: Path | None = None
    metrics_token: SecretStr = SecretStr("")
    log_format: Literal["json", "text"] = "json"
    lease_seconds: float = Field(15, ge=1, le=600)
    version_seconds: float = Field(60, ge=1, le=86_400)
    planning_processes: int = Field(1, ge=1, le=64)
    executing_processes: int = Field(1, ge=1, le=64)
    slots: int = Field(16, ge=1, le=200)
    otlp_endpoint: str = ""
    labels: str = ""
    delivery_days: int = Field(30, ge=1, le=3_650)
    log_days: int = Field(90, ge=1, le=3_650)
    artifact_days: int = Field(90, ge=1, le=3_650)
    message_days: int = Field(0, ge=0, le=36_500)
    run_days: int = Field(0, ge=0, le=36_500)
    artifacts: str = ""
    trusted_proxies: str = ""
    oidc_issuer: str = ""
    oidc_client_id: str = ""
    oidc_client_secret: SecretStr = SecretStr("")
    oidc_hosts: str = ""
    oidc_scopes: str = "openid email profile"
    oidc_email_claim: str = "email"
    oidc_groups_claim: str = "groups"
    session_hours: int = Field(12, ge=1, le=168)
    session_idle_minutes: int = Field(120, ge=5, le=10_080)
    demo: bool = False

    @classmethod
    def read(cls, **overrides: object) -> Self:
        """The settings in force; raises WrongSetting naming the variable."""
        try:
            return cls(**overrides)  # type: ignore[arg-type]
        except ValidationError as error:
            raise _explained(error) from None

    @field_validator("message_days", "run_days")
    @classmethod
    def _a_month_at_least(cls, value: int) -> int:
        if 0 < value < LEAST_DAYS:  # the database and the verifiers refuse less for the record
            raise ValueError(f"should be 0, for ever, or at least {LEAST_DAYS}")
        return value

    @field_validator("slack_api_url")
    @classmethod
    def _ends_with_slash(cls, value: str) -> str:
        parts = urlsplit(value)  # raises ValueError itself for brackets that enclose no address
        loopback = parts.scheme == "http" and parts.hostname in LOOPBACK
        if not (parts.scheme == "https" or loopback) or not parts.hostname or "@" in parts.netloc:
            raise ValueError("should be https, or http on loopback")
        return value if value.endswith("/") else value + "/"

    @field_validator("database_url", "migrate_database_url", "listen_database_url")
    @classmethod
    def _names_the_driver(cls, value: str) -> str:
        plain = value.removeprefix("postgres://").removeprefix("postgresql://")
        return value if plain == value else f"postgresql+psycopg://{plain}"

    @field_validator("artifacts")
    @classmethod
    def _is_a_place(cls, value: str) -> str:
        parts = urlsplit(value)
        plain = parts.hostname and "@" not in parts.netloc and not (parts.query or parts.fragment)
        if parts.scheme and not (parts.scheme == "s3" and plain):
            raise ValueError("should be a folder, or a bucket with a prefix; keys belong in AWS_ACCESS_KEY_ID and AWS_SECRET_ACCESS_KEY")
        return value.rstrip("/")

    @field_validator("trusted_proxies")
    @classmethod
    def _are_networks(cls, value: str) -> str:
        for one in value.replace(",", " ").split():
            ip_network(one)
        return value

    @field_validator("otlp_endpoint")
    @classmethod
    def _is_an_address(cls, value: str) -> str:
        parts = urlsplit(value)
        if value and (parts.scheme not in ("http", "https") or not parts.hostname or "@" in parts.netloc):
            raise ValueError("should be http or https, with a host and without a password")
        return value

    @field_validator("labels")
    @classmethod
    def _are_labels(cls, value: str) -> str:
        return ",".join(labels_in(value))

    @field_validator("metrics_token")
    @classmethod
    def _cannot_be_guessed(cls, value: SecretStr) -> SecretStr:
        given = value.get_secret_value()
        if given and (len(given) < 20 or not given.isascii()):
            raise ValueError("should be at least 20 characters of ASCII, so that it cannot be guessed")
        return value

    @field_validator("oidc_issuer")
    @classmethod
    def _is_an_issuer(cls, value: str) -> str:
        parts = urlsplit(value)
        safe = parts.scheme == "https" or (parts.scheme == "http" and parts.hostname in LOOPBACK)
        if value and not (safe and parts.hostname and "@" not in parts.netloc and not parts.query and not parts.fragment):
            raise ValueError("should be https, or http on loopback, without a query")
        return value

    @model_validator(mode="after")
    def _issuer_knows_us(self) -> Self:
        if self.oidc_issuer and not self.oidc_client_id:
            raise ValueError("oidc_client_id: is empty although oidc_issuer is set; nobody could sign in")
        if "openid" not in self.oidc_scopes.split():
            raise ValueError("oidc_scopes: should have openid in it")
        return self

    @model_validator(mode="after")
    def _slack_is_whole(self) -> Self:
        if self.slack_bot_token.get_secret_value() and not (
            self.slack_signing_secret.get_secret_value() or self.slack_app_token.get_secret_value()
        ):
            raise ValueError("slack_signing_secret: is empty although slack_bot_token is set; every request would be refused")
        if self.demo and self.host not in LOOPBACK:
            raise ValueError("host: demo people have no passwords, so --demo runs on 127.0.0.1 only")
        if self.demo and self.slack_bot_token.get_secret_value() and self.slack_api_url.startswith("https://"):
            raise ValueError("slack_bot_token: demo people would act in a real workspace; unset it or run without --demo")
        return self

    @property
    def proxies(self) -> tuple[IPv4Network | IPv6Network, ...]:
        """The networks of the proxies that may say which certificate a caller has shown."""
        return tuple(ip_network(one) for one in self.trusted_proxies.replace(",", " ").split())

    @property
    def oidc(self) -> dict[str, Any]:
        """How this hub is known to the issuer that people sign in with; empty while there is none."""
        if not self.oidc_issuer:
            return {}
        return {
            "issuer": self.oidc_issuer,
            "client_id": self.oidc_client_id,
            "client_secret": self.oidc_client_secret.get_secret_value(),
            "hosts": tuple(self.oidc_hosts.replace(",", " ").split()),
            "scopes": self.oidc_scopes,
            "email_claim": self.oidc_email_claim,
            "groups_claim": self.oidc_groups_claim,
        }

    @property
    def has_slack(self) -> bool:
        return bool(self.slack_bot_token.get_secret_value())

    @property
    def url(self) -> str:
        """The address people open, without a slash at the end."""
        return (self.public_url or f"http://{self.host}:{self.port}").rstrip("/")


def _explained(error: ValidationError) -> WrongSetting:
    first = error.errors(include_url=False, include_input=False)[0]
    message = first["msg"].removeprefix("Value error, ").replace("Input should", "should")
    name = str(first["loc"][0]) if first["loc"] else message.partition(":")[0]
    message = message if first["loc"] else message.partition(": ")[2]
    example = _EXAMPLES.get(name)
    return WrongSetting(f"{PREFIX}{name.upper()}: {message}" + (f" (for instance {example})" if example else ""))
