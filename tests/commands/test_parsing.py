"""A line of text as people type it on phones and in word processors."""

from contextlib import suppress

import pytest
from hypothesis import example, given
from hypothesis import strategies as st

from commands.parsing import LONGEST_TEXT, NotUnderstood, Words, find_command, read_arguments, read_changes, split
from countersign import Context, control
from tests.commands.samples import COMMANDS, deploy, look, rotate, tell

ODD = ["deploy", "tell", "--", "--env", "--env=", "env=", "=", "--dry-run", "--reason", '"', "'", "“", "’", "—", "\\", " ", "\n", "é"]
WORDS = st.sampled_from(ODD)
LINES = st.text() | st.lists(WORDS | st.text(max_size=5)).map(" ".join) | st.lists(WORDS).map("".join)


@given(LINES)
@example("deploy \\")
@example("— deploy")
@example("tell lin it's \"half")
@example("\ud800")
def test_no_text_raises_anything_but_not_understood(text: str) -> None:
    with suppress(NotUnderstood):
        command, words = find_command(split(text), COMMANDS)
        call = read_arguments(command or deploy, words)
        assert set(call.arguments) <= {one.name for one in (command or deploy).schema.parameters}


@given(st.lists(WORDS | st.text(max_size=8)))
def test_no_words_raise_anything_but_not_understood(words: list[str]) -> None:
    for command in COMMANDS.values():
        with suppress(NotUnderstood):
            read_arguments(command, words)


def read(text: str) -> dict[str, str]:
    command, words = find_command(split(text), COMMANDS)
    assert command is not None
    return dict(read_arguments(command, words).arguments)


@pytest.mark.parametrize(
    "text",
    [
        "deploy api v2 prod",
        "/deploy api v2 prod",
        "Deploy api v2 prod",
        "deploy api v2 env=prod",
        "deploy env=prod api v2",
        "deploy api --env prod v2",
        "deploy api v2 --env=prod",
        "deploy api v2 ENV=prod",
        "deploy\u00a0api\u202fv2\u2007prod",
        "deploy  api\tv2\nprod",
        "deploy “api” ‘v2’ «prod»",
        'deploy „api" "v2" prod',
        "deploy api v2 —env prod",
        "deploy api v2 –env=prod",
        "deploy api v2 —-env prod",
        "deploy --env prod -- api v2",
        "deploy service=api version=v2 env=prod",
    ],
)
def test_all_these_say_the_same(text: str) -> None:
    assert read(text) == {"service": "api", "version": "v2", "env": "prod"}


def test_quotes_keep_spaces_and_an_apostrophe_needs_none() -> None:
    assert read('tell "the whole team" hello') == {"who": "the whole team", "words": "hello"}
    assert read("tell lin it's done") == {"who": "lin", "words": "it's done"}
    assert read("tell lin words=“it’s done”") == {"who": "lin", "words": "it's done"}


def test_a_last_free_text_takes_the_rest_of_the_line() -> None:
    assert read("tell lin come to the meeting") == {"who": "lin", "words": "come to the meeting"}
    assert read("tell lin a=b c=d") == {"who": "lin", "words": "a=b c=d"}
    assert read("tell words=first lin") == {"who": "lin", "words": "first"}


def test_words_after_two_dashes_are_values_whatever_they_look_like() -> None:
    assert read("deploy -- --env env=prod") == {"service": "--env", "version": "env=prod"}
    assert read("tell lin -- --dry-run") == {"who": "lin", "words": "--dry-run"}


def test_a_dash_inside_a_word_or_a_sentence_stays() -> None:
    assert read("tell lin well–known") == {"who": "lin", "words": "well–known"}
    assert read("tell lin now — or never")["words"] == "now — or never"


def test_options_of_every_command() -> None:
    call = read_arguments(deploy, split('deploy api --dry-run --reason "it is late"').words[1:])
    assert (call.dry_run, call.reason, call.help) == (True, "it is late", False)
    assert read_arguments(deploy, ["--help"]).help
    assert read_arguments(deploy, ["api", "--dry_run"]).dry_run
    assert read_arguments(look, ["--reason=because"]).reason == "because"


def test_a_boolean_option_needs_no_value() -> None:
    assert read("deploy --force api") == {"service": "api", "force": "yes"}
    assert read("deploy --force=no api") == {"service": "api", "force": "no"}


@pytest.mark.parametrize(
    ("text", "sentence"),
    [
        ("", "Say what to do, for instance: help"),
        ("   \u00a0 ", "Say what to do, for instance: help"),
        ("/", "Say what to do, for instance: help"),
        ('deploy "api', 'A quote is opened but not closed; write "…" around values with spaces.'),
        ("deploy api v2 env=prod env=staging", "env is given twice."),
        ("deploy api --colour red", "--colour is not an option of deploy."),
        ("deploy api --env", "--env needs a value."),
        ("deploy api --reason", "--reason needs a value."),
        ("deploy api v2 prod yes more", "'more' is one value too many."),
        ("look around", "'around' is one value too many."),
        ("deploy a\0b", "The command contains a NUL character."),
        ("x" * (LONGEST_TEXT + 1), f"The command is longer than {LONGEST_TEXT} characters."),
    ],
)
def test_what_is_not_understood_is_said_in_a_sentence(text: str, sentence: str) -> None:
    with pytest.raises(NotUnderstood) as told:
        read(text)
    assert str(told.value).startswith(sentence)


def test_one_or_two_words_name_a_command() -> None:
    assert find_command(split("policy apply x"), COMMANDS) == (COMMANDS["policy apply"], ("x",))
    assert find_command(split("POLICY Apply"), COMMANDS)[0] is COMMANDS["policy apply"]
    assert find_command(split("policy"), COMMANDS)[0] is None
    assert find_command(split("rotate k"), COMMANDS)[0] is rotate


def test_a_long_line_is_read_in_no_time() -> None:
    assert len(read("tell lin " + "— " * 3_000 + "end")["words"]) > 3_000
    assert read("tell lin " + "'" * 2_000 + "x")["who"] == "lin"
    assert tell.usage == "/tell <who> <words>"


@pytest.mark.parametrize(
    ("text", "at", "words"),
    [
        ('--at "22:00 Europe/Berlin"', "22:00 Europe/Berlin", "hello"),
        ("--at 22:00", "22:00", "hello"),
        ("--at=22:00", "22:00", "hello"),
        ("—at 22:00 Europe/Berlin", "22:00 Europe/Berlin", "hello"),
        ("--at=22:00 UTC", "22:00 UTC", "hello"),
        ("--at tomorrow 9:00 America/New_York", "tomorrow 9:00 America/New_York", "hello"),
        ("--at 2026-12-01 22:00", "2026-12-01 22:00", "hello"),
        ("--at 2026-12-01T22:00+01:00", "2026-12-01T22:00+01:00", "hello"),
        ("--at in 2h", "in 2h", "hello"),
        ("--at 22:00 there", "22:00", "hello there"),
        ("--at 22:00 api/v2", "22:00", "hello api/v2"),
        ("--at 22:00 Japan", "22:00", "hello Japan"),
    ],
)
def test_a_start_is_typed_with_or_without_quotes(text: str, at: str, words: str) -> None:
    command, rest = find_command(split(f"tell lin hello {text}"), COMMANDS)
    assert command is tell
    call = read_arguments(tell, rest)
    assert (call.at, dict(call.arguments)) == (at, {"who": "lin", "words": words})


@pytest.mark.parametrize(
    ("text", "problem"),
    [
        ("--at", "--at needs a value"),
        ("--at=", "--at needs a time such as 22:00"),
        ("--at ''", "--at needs a time such as 22:00"),
        ("--at 22:00 --at 23:00", "--at is given twice"),
        ("--reason one --reason two", "--reason is given twice"),
    ],
)
def test_a_start_that_says_nothing_is_refused(text: str, problem: str) -> None:
    with pytest.raises(NotUnderstood, match=problem):
        read_arguments(tell, split(f"tell lin hello {text}").words[1:])


def test_what_answers_at_once_takes_no_start() -> None:
    with pytest.raises(NotUnderstood, match="--at is not an option of look"):
        read_arguments(look, ["--at", "22:00"])


@control("approve")
async def approving(ctx: Context, number: str, reason: str = "", at: str = "") -> None:
    """Approve."""


@pytest.mark.parametrize("text", ["12 --at 22:00 Europe/Berlin", "12 at=22:00 Europe/Berlin", "12 --at=22:00 Europe/Berlin"])
def test_a_control_that_takes_a_moment_takes_its_zone_along(text: str) -> None:
    call = read_arguments(approving, split(f"approve {text}").words[1:])
    assert dict(call.arguments) == {"number": "12", "at": "22:00 Europe/Berlin"}


@control("change")
async def change(ctx: Context, number: str, changes: Words = Words()) -> None:
    """Change."""


@pytest.mark.parametrize(
    ("typed", "words"),
    [
        ("change 7 env=prod", ["env=prod"]),
        ("change 7 --env prod service='the api'", ["--env", "prod", "service=the api"]),
        ("change number=7 env=prod", ["env=prod"]),
        ("change 7 number=8", ["number=8"]),
        ("change 7 -- env=prod", ["--", "env=prod"]),
    ],
)
def test_all_words_that_are_left_are_taken_as_they_are(typed: str, words: list[str]) -> None:
    command, rest = find_command(split(typed), {"change": change})
    assert command is not None
    call = read_arguments(command, rest)
    assert call.arguments == {"number": "7", "changes": words}
    values = command.schema.validate(call.arguments)
    assert values["changes"].all == tuple(words)
    shown = command.schema.written(values)["changes"]
    assert "prod" not in shown.replace("prod=…", "")
    assert "api" not in shown


@pytest.mark.parametrize("typed", ["change --help", "change 7 --help"])
def test_help_is_still_help(typed: str) -> None:
    command, rest = find_command(split(typed), {"change": change})
    assert command is not None
    assert read_arguments(command, rest).help


def test_words_may_come_as_one_text_or_as_a_list() -> None:
    assert Words.parse('env=prod "note=two words"').all == ("env=prod", "note=two words")
    assert Words.parse(["a=b"]).all == ("a=b",)
    assert Words.parse(Words(["a=b"])).all == ("a=b",)
    assert Words.parse("  ").all == Words.parse(None).all == ()
    for wrong in ('note="half', 7, ["a", 7], {"a": "b"}):
        with pytest.raises(ValueError, match=r"quote|name=value"):
            Words.parse(wrong)


@pytest.mark.parametrize(
    ("words", "found"),
    [
        (["env=prod"], {"env": "prod"}),
        (["--env=prod", "--service", "api"], {"env": "prod", "service": "api"}),
        (["ENV=prod"], {"env": "prod"}),
        (["--force"], {"force": "yes"}),
        (["force=no"], {"force": "no"}),
        (["env="], {"env": ""}),
        (["version=a=b"], {"version": "a=b"}),
    ],
)
def test_changes_name_what_they_change(words: list[str], found: dict[str, str]) -> None:
    assert read_changes(deploy, words) == found


@pytest.mark.parametrize(
    ("words", "sentence"),
    [
        (["prod"], "'prod' changes nothing"),
        (["colour=red"], "for arguments of deploy (service, version, env, force)"),
        (["--colour", "red"], "'--colour' changes nothing"),
        (["env=a", "env=b"], "env is given twice"),
        (["--env"], "--env needs a value"),
        (["force"], "'force' changes nothing"),
    ],
)
def test_what_changes_nothing_is_told(words: list[str], sentence: str) -> None:
    with pytest.raises(NotUnderstood) as error:
        read_changes(deploy, words)
    assert sentence in str(error.value)
