"""A wrong variable stops the boot with its name, and a right example beside it."""

from collections.abc import Iterator
from unittest.mock import patch

import pytest

from store.settings import Settings, WrongSetting

SLACK = {"SLACK_BOT_TOKEN": "xoxb-1", "SLACK_SIGNING_SECRET": "0123456789abcdef"}


@pytest.fixture(autouse=True)
def environment() -> Iterator[None]:
    with patch.dict("os.environ", {}, clear=True):
        yield


def read(**variables: str) -> Settings:
    with patch.dict("os.environ", {f"COUNTERSIGN_{name}": value for name, value in variables.items()}):
        return Settings.read()


def test_nothing_set_is_a_hub_of_ones_own() -> None:
    settings = read()
    assert (settings.host, settings.port, settings.url, settings.has_slack) == ("127.0.0.1", 8000, "http://127.0.0.1:8000", False)


@pytest.mark.parametrize(
    ("variables", "name"),
    [
        ({"PORT": "http"}, "PORT"),
        ({"PORT": "0"}, "PORT"),
        ({"PORT": "70000"}, "PORT"),
        ({"LOG_FORMAT": "xml"}, "LOG_FORMAT"),
        ({"LEASE_SECONDS": "0.5"}, "LEASE_SECONDS"),
        ({"LEASE_SECONDS": "nan"}, "LEASE_SECONDS"),
        ({"RUN_DAYS": "29"}, "RUN_DAYS"),
        ({"MESSAGE_DAYS": "1"}, "MESSAGE_DAYS"),
        ({"PLANNING_PROCESSES": "0"}, "PLANNING_PROCESSES"),
        ({"EXECUTING_PROCESSES": "many"}, "EXECUTING_PROCESSES"),
        ({"DEMO": "perhaps"}, "DEMO"),
        ({"SLACK_API_URL": "http://slack.example.test/api/"}, "SLACK_API_URL"),
        ({"SLACK_API_URL": "http://127.0.0.1.example.test/api/"}, "SLACK_API_URL"),
        ({"SLACK_API_URL": "http://localhost@example.test/"}, "SLACK_API_URL"),
        ({"SLACK_API_URL": "https://"}, "SLACK_API_URL"),
        ({"SLACK_API_URL": "http://[::1"}, "SLACK_API_URL"),
        ({"SLACK_API_URL": "file:///etc/passwd"}, "SLACK_API_URL"),
        ({"SLACK_BOT_TOKEN": "xoxb-1"}, "SLACK_SIGNING_SECRET"),
        ({"DEMO": "true", "HOST": "hub.example.test"}, "HOST"),
        ({"DEMO": "true", **SLACK}, "SLACK_BOT_TOKEN"),
    ],
)
def test_each_wrong_value_names_its_variable(variables: dict[str, str], name: str) -> None:
    with pytest.raises(WrongSetting) as told:
        read(**variables)
    assert str(told.value).startswith(f"COUNTERSIGN_{name}: ")
    assert "\n" not in str(told.value)
    for value in ("xoxb-1", "0123456789abcdef"):
        assert value not in str(told.value)


def test_secrets_do_not_print() -> None:
    settings = read(REDIS_URL="redis://:s3cret@x/0", SECRET_KEY="s3cret" * 6, **SLACK)
    assert "s3cret" not in repr(settings)
    assert "xoxb" not in repr(settings)
    assert settings.has_slack


@pytest.mark.parametrize("prefix", ["postgres://", "postgresql://", "postgresql+psycopg://"])
def test_every_usual_way_to_write_a_database_is_read(prefix: str) -> None:
    assert read(DATABASE_URL=f"{prefix}u:p@h/d").database_url == "postgresql+psycopg://u:p@h/d"


def test_demo_may_speak_to_a_gateway_on_loopback() -> None:
    assert read(DEMO="true", SLACK_API_URL="http://127.0.0.1:9000/api", **SLACK).slack_api_url == "http://127.0.0.1:9000/api/"


def test_a_public_address_has_no_slash_at_its_end() -> None:
    assert read(PUBLIC_URL="https://countersign.example.test/").url == "https://countersign.example.test"
