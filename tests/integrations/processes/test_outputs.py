"""What a script prints, however it is cut into pieces; secrets never get through."""

from itertools import pairwise

import pytest
from hypothesis import given
from hypothesis import strategies as st

from integrations.processes.outputs import MAX_LINE, MAX_LINES, Output, Stream, cleaned
from tests.integrations.processes.folders import Worker

SECRET = "canary-4711-ümlaut"


class Log(Worker):
    async def progress(self, done: float, total: float, note: str = "") -> None:
        self.steps.append((done, total, note))


async def heard(*pieces: bytes, secrets: tuple[str, ...] = (), stream: Stream = "stdout") -> tuple[Output, Log]:
    log = Log()
    output = Output(log, secrets)
    for piece in (*pieces, b""):
        await output.heard(stream, piece)
    return output, log


def split(data: bytes, cuts: list[int]) -> list[bytes]:
    edges = [0, *sorted(cut for cut in cuts if cut < len(data)), len(data)]
    return [data[start:end] for start, end in pairwise(edges) if end > start]


@given(st.binary(min_size=1, max_size=400), st.lists(st.integers(0, 400), max_size=8))
async def test_lines_do_not_depend_on_how_they_arrive(data: bytes, cuts: list[int]) -> None:
    assert (await heard(*split(data, cuts)))[1].lines == (await heard(data))[1].lines


@given(before=st.text(max_size=30), after=st.text(max_size=30), cuts=st.lists(st.integers(0, 80), max_size=3), times=st.integers(1, 4))
async def test_a_secret_never_reaches_the_log(before: str, after: str, cuts: list[int], times: int) -> None:
    data = ((before + SECRET + after) * times).encode()
    output, log = await heard(*split(data, cuts), secrets=(SECRET,))
    shown = "".join(log.lines) + output.last_line
    assert not [end for end in range(6, len(SECRET)) if SECRET[:end] in shown or SECRET[-end:] in shown]


@pytest.mark.parametrize("offset", [MAX_LINE - 30, MAX_LINE - 5, MAX_LINE, 256 * 1024 - 9, 256 * 1024, 262_150, 270_000])
async def test_a_secret_is_taken_out_before_the_line_is_cut(offset: int) -> None:
    """Cutting first would leave the beginning of the secret at the end of the line."""
    line = b"x" * offset + SECRET.encode() * 3 + b"y" * 100 + b"\n"
    _, log = await heard(*(line[start : start + 16_384] for start in range(0, len(line), 16_384)), secrets=(SECRET,))
    for end in range(4, len(SECRET)):
        assert SECRET[:end] not in "".join(log.lines)
    assert all(len(one.encode()) <= MAX_LINE for one in log.lines)
    assert log.lines[0].endswith("…")


async def test_repeated_secrets_shrink_a_line_and_still_do_not_show_at_its_end() -> None:
    secret = "s3cr3t-" * 1_000
    line = (secret * 60).encode()
    _, log = await heard(*(line[start : start + 16_384] for start in range(0, len(line), 16_384)), secrets=(secret,))
    assert "s3cr3t" not in "".join(log.lines)


async def test_a_coloured_secret_is_a_secret() -> None:
    lines = b"token \x1b[31mcanary\x1b[0m-4711\n\x1b[canary-4711\n\x1b]canary-4711\n"
    _, log = await heard(lines, secrets=("canary-4711",))
    assert log.lines[0] == "token ••••••"
    assert "4711" not in "".join(log.lines)


async def test_the_longer_of_two_secrets_goes_first() -> None:
    _, log = await heard(b"abc abcdef\n", secrets=("abc", "abcdef"))
    assert log.lines == ["•••••• ••••••"]


async def test_a_result_and_progress_hold_no_secret_either() -> None:
    output, log = await heard(b'::result {"token": "canary-4711"}\n::progress 1/2 canary-4711\n', secrets=("canary-4711",))
    assert output.result == {"token": "••••••"}
    assert log.steps == [(1, 2, "••••••")]


async def test_only_the_first_ten_thousand_lines_are_kept_and_progress_goes_on() -> None:
    lines = b"".join(b"%d\n" % number for number in range(MAX_LINES + 500)) + b'::progress 1/1\n::result {"a":1}\nlast\n'
    output, log = await heard(*(lines[start : start + 8192] for start in range(0, len(lines), 8192)))
    assert len(log.lines) == MAX_LINES + 1
    assert log.lines[-1] == "Only the first 10,000 lines are kept; the script goes on."
    assert (output.result, log.steps, output.last_line) == ({"a": 1}, [(1, 1, "")], "last")


async def test_an_endless_line_is_one_line() -> None:
    output, log = await heard(*[b"x" * 16_384] * 100, b"tail\nnext\n")
    assert [len(one.encode()) for one in log.lines] == [MAX_LINE, 4]
    assert output.last_line == "next"


@pytest.mark.parametrize(
    "line",
    ["::result", "::result x", "::result [1]", '::result "x"', "::result NaN", '::result {"a": NaN}', '::result {"a": "\\ud800"}',
     '::result {"a": "\\u0000"}', "::result " + "[" * 5_000, '::result {"a": "' + "x" * 70_000 + '"}', " ::result {}", "::progress 1",
     "::progress 1/0", "::progress -1/2", "::progress 1/2x", "::progress nan/1", "::progress \u0661/\u0662"],
)  # fmt: skip
async def test_what_cannot_be_read_is_an_ordinary_line(line: str) -> None:
    output, log = await heard(line.encode() + b"\n")
    assert (output.result, log.steps) == (None, [])
    assert len(log.lines) == 1


async def test_standard_error_is_never_a_command() -> None:
    output, log = await heard(b'::result {"a": 1}\n::progress 1/2\n', stream="stderr")
    assert (output.result, log.steps, len(log.lines)) == (None, [], 2)


async def test_the_last_result_counts() -> None:
    output, _ = await heard(b'::result {"a": 1}\nx\n::result {"a": 2}\n::result broken\n')
    assert output.result == {"a": 2}


@pytest.mark.parametrize(
    ("raw", "shown"),
    [
        ("\x1b[1;31mred\x1b[0m", "red"),
        ("\x1b]0;title\x07text", "text"),
        ("tab\tstays\r", "tab\tstays"),
        ("over\rwritten", "over�written"),
        ("nul\x00bell\x07", "nul�bell�"),
        ("\x9b31mc1", "�31mc1"),
    ],
)
def test_a_line_cannot_paint_the_terminal_of_whoever_reads_it(raw: str, shown: str) -> None:
    assert cleaned(raw) == shown
