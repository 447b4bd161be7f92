"""Requests have to pass for Slack's, and no two may be alike, or a hub that recognises repeats would have an easy time."""

from urllib.parse import parse_qs

from slack_sdk.signature import SignatureVerifier

from benchmarks.hubs import HubAddresses
from benchmarks.slashes import signed_slashes

SECRET = "shared-with-slack"
HUB = HubAddresses("http://127.0.0.1:4321/slack/events", SECRET, command="/cs", text="echo {id} please")


def test_slack_would_have_signed_it_so() -> None:
    slashes = signed_slashes(3, hub=HUB, response_url="http://127.0.0.1:1/commands/x")
    for request in slashes.requests:
        head, _, body = request.partition(b"\r\n\r\n")
        headers = dict(line.split(": ", 1) for line in head.decode().split("\r\n")[1:])
        assert SignatureVerifier(SECRET).is_valid_request(body, headers)
        assert int(headers["Content-Length"]) == len(body)
        assert headers["Host"] == "127.0.0.1:4321"


def test_the_text_carries_the_id_and_the_response_url_is_ours() -> None:
    slashes = signed_slashes(2, hub=HUB, response_url="http://127.0.0.1:1/commands/x")
    for name, request in zip(slashes.ids, slashes.requests, strict=True):
        fields = parse_qs(request.partition(b"\r\n\r\n")[2].decode())
        assert fields["command"] == ["/cs"]
        assert fields["text"] == [f"echo {name} please"]
        assert fields["response_url"] == ["http://127.0.0.1:1/commands/x"]


def test_no_trigger_is_ever_used_twice() -> None:
    calls = [signed_slashes(500, hub=HUB, response_url="http://127.0.0.1:1/") for _ in range(2)]
    triggers = [parse_qs(request.partition(b"\r\n\r\n")[2].decode())["trigger_id"][0] for call in calls for request in call.requests]
    assert len(set(triggers)) == 1000
