"""The tree of commands: what a person at a terminal asks of a hub is here, each role of the hub is executed."""

from .artifacts import artifacts
from .asking import approve, cancel, deny, run, runs
from .conversing import answer, ask, comment, edit, handover, takeback, withdraw
from .endings import new_app
from .evidence import evidence
from .inboxes import inbox
from .logins import login
from .logs import logs
from .policies import apply, diff, explain, suggest
from .promises import promises
from .records import export
from .roles import add_roles
from .rooms import chat
from .scaffolds import new_command
from .schedules import schedules

app = new_app("Countersign: chat-operated approvals. `countersign up --demo` shows everything without an account anywhere.")
add_roles(app)
app.command("login")(login)
app.command("chat")(chat)
app.command("run")(run)
app.command("runs")(runs)
app.command("logs")(logs)
app.command("artifacts")(artifacts)
app.command("inbox")(inbox)
app.command("schedules")(schedules)
app.command("promises")(promises)
app.command("approve")(approve)
app.command("deny")(deny)
app.command("cancel")(cancel)
app.command("edit")(edit)
app.command("withdraw")(withdraw)
app.command("takeback")(takeback)
app.command("handover")(handover)
app.command("comment")(comment)
app.command("ask")(ask)
app.command("answer")(answer)
app.command("evidence")(evidence)

policy = new_app()
add_roles(policy, group="policy")
policy.command("explain")(explain)
policy.command("diff")(diff)
policy.command("suggest")(suggest)
policy.command("apply")(apply)
app.add_typer(policy, name="policy", help="Check, test, explain, compare or apply a policy.")

audit = new_app()
add_roles(audit, group="audit")
audit.command("export")(export)
app.add_typer(audit, name="audit", help="Verify or export the record.")

slack = new_app("")
add_roles(slack, group="slack")
app.add_typer(slack, name="slack", help="Set up the Slack app.")

token = new_app("")
add_roles(token, group="token")
app.add_typer(token, name="token", help="Make personal tokens and links.")

directory = new_app("")
add_roles(directory, group="directory")
app.add_typer(directory, name="directory", help="Connect a directory that says who belongs to the company.")

passkey = new_app("")
add_roles(passkey, group="passkey")
app.add_typer(passkey, name="passkey", help="Accept a first passkey.")

new = new_app("")
new.command("command")(new_command)
app.add_typer(new, name="new", help="Begin something of your own.")
