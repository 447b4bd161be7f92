"""Values that somebody hopes a shell, an option parser or a template will take for more than a word."""

# ruff: noqa: E501, RUF001 - lists to be read as lists, and letters that only look like others are the point of some

from typing import Final

HARM: Final = ("touch {canary}", "sh -c 'touch {canary}'", "curl http://127.0.0.1:1/|sh", "id>{canary}", "rm -rf .", "reboot")
WRAPPED: Final = (
    ";{}", "; {} ;", "|{}", "||{}", "&{}", "&&{}", "\n{}\n", "\r\n{}", "$({})", "`{}`", "${{IFS}}{}", "x;{}", "x|{}", "x\n{}", "'; {}; '", '"; {}; "',
    "');{};('", "\\;{}", "<({})", ">({})", "{{{}}}", "${{x:-$({})}}", "$(({}))", "a[$({})]", "() {{ :;}}; {}", "%0a{}", "\\x0a{}", "\u2028{}",
    "\x85{}", "\x0b{}", "#\n{}", "*{}", "x' {} '", 'x" {} "', "x$'\\n'{}", "~{}", "!{}", "eval {}", "exec {}", "@{}", "=cmd|'{}'!A1", "\x1b[2J{}",
)  # fmt: skip
TEMPLATES: Final = (
    "{whole}", "{inside}", "{after}", "{dashed}", "{{whole}}", "{0}", "{}", "{", "}", "{{", "}}", "{whole.__class__}", "{whole!r}", "%s", "%(whole)s",
    "${whole}", "$whole", "{{7*7}}", "{% print 1 %}", "${7*7}", "<%= 7*7 %>", "#{7*7}", "\\1", "\\g<0>", "\\g<1>", "\\n", "$1", "$@", "$0", "$$",
)  # fmt: skip
OPTIONS: Final = (
    "-", "--", "-rf", "--help", "-c", "--exec=id", "-e", "-oProxyCommand=id", "--upload-pack=id", "--checkpoint-action=exec=id", "-ofoo", "-1",
    "--output=/etc/x", "-\u00a0x", "-=x", "-'x'", "--use-askpass=id", "--to-command=id", "-I{}", "-exec",
)  # fmt: skip
PLAIN: Final = (
    " ", "  two  spaces  ", "\t", "a b", "*", "?", "[a-z]", "~", "~root", "/etc/passwd", "../../x", "./x", ".", "..", "a=b", "A=B tell", "'", '"', "''",
    '""', "\\", "\\\\", "#", "!", "!!", "^x^y", "a\tb", "é", "🙈", "e\u0301", "\u202egnp.exe", "\ufeff", "\u200b", "\u00a0", "―-dash", "–x", "−x", "﹣x",
    "－x", "x" * 8_000, "\u0440\u043e\u043e\u0442", "@file", "+x", "%00", "file:///etc/passwd", "<script>", "null", "None", "true", "0x41", "1e9",
)  # fmt: skip
SPOKEN: Final = TEMPLATES + OPTIONS + PLAIN
