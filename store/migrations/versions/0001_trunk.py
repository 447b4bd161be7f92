"""The trunk: people, policy, runs, approvals, journal, messages."""

import sqlalchemy as sa
from alembic import op
from sqlalchemy.dialects import postgresql

revision = "0001"
down_revision = None

BOTH_READ = (
    "people chat_accounts memberships grants policies runs approval_requests decisions steps log_lines inbox messages tokens workers"
    " choices clock"
)
WORKER_WRITES = (
    "people chat_accounts memberships grants policies runs approval_requests steps log_lines inbox messages tokens workers choices"
)
# The web may not write policy, roles, memberships, journal, or read sealed secrets; people's accounts are linked on first sight.
WEB_INSERTS = "runs inbox decisions messages tokens chat_accounts approval_requests secrets"
WEB_UPDATES = "runs inbox messages tokens approval_requests"


def upgrade() -> None:
    op.execute("SET LOCAL lock_timeout = '5s'")
    _clock()
    _tables()
    _notices()
    _rights()


def _clock() -> None:
    op.execute("CREATE TABLE clock (shift interval NOT NULL)")
    op.execute("INSERT INTO clock VALUES ('0')")
    # STABLE, so that `due_at <= countersign_now()` can use an index; tests move the clock by updating the one row as the owner.
    op.execute(
        "CREATE FUNCTION countersign_now() RETURNS timestamptz LANGUAGE sql STABLE PARALLEL SAFE"
        " AS 'SELECT clock_timestamp() + shift FROM clock'"
    )


def _notices() -> None:
    op.execute(
        "CREATE FUNCTION countersign_people_changed() RETURNS trigger LANGUAGE plpgsql AS"
        " $$ BEGIN PERFORM pg_notify('countersign_people', TG_TABLE_NAME); RETURN NULL; END $$"
    )
    for table in ("people", "chat_accounts", "memberships", "grants", "policies", "tokens"):
        op.execute(
            f"CREATE TRIGGER changed AFTER INSERT OR UPDATE OR DELETE OR TRUNCATE ON {table}"
            " FOR EACH STATEMENT EXECUTE FUNCTION countersign_people_changed()"
        )


def _rights() -> None:
    op.execute(f"GRANT SELECT ON {', '.join(BOTH_READ.split())} TO countersign_web, countersign_worker")
    op.execute(f"GRANT INSERT, UPDATE ON {', '.join(WORKER_WRITES.split())} TO countersign_worker")
    op.execute("GRANT INSERT ON decisions TO countersign_worker")
    op.execute("GRANT DELETE ON chat_accounts, memberships, workers, inbox TO countersign_worker")
    op.execute("GRANT SELECT, INSERT ON secrets TO countersign_worker")
    op.execute(f"GRANT INSERT ON {', '.join(WEB_INSERTS.split())} TO countersign_web")
    op.execute(f"GRANT UPDATE ON {', '.join(WEB_UPDATES.split())} TO countersign_web")
    op.execute("GRANT SELECT ON alembic_version TO countersign_web, countersign_worker")


def _tables() -> None:
    op.create_table(
        "choices",
        sa.Column("name", sa.Text(), nullable=False),
        sa.Column("values", postgresql.JSONB(astext_type=sa.Text()), nullable=False),
        sa.Column("refreshed_at", sa.DateTime(timezone=True), server_default=sa.text("countersign_now()"), nullable=False),
        sa.PrimaryKeyConstraint("name", name=op.f("pk_choices")),
    )
    op.create_table(
        "people",
        sa.Column("name", sa.Text(), nullable=False),
        sa.Column("email", sa.Text(), nullable=True),
        sa.Column("active", sa.Boolean(), server_default=sa.text("true"), nullable=False),
        sa.Column("service", sa.Boolean(), server_default=sa.text("false"), nullable=False),
        sa.Column("timezone", sa.Text(), server_default=sa.text("'UTC'"), nullable=False),
        sa.Column("created_at", sa.DateTime(timezone=True), server_default=sa.text("countersign_now()"), nullable=False),
        sa.PrimaryKeyConstraint("name", name=op.f("pk_people")),
        sa.UniqueConstraint("email", name=op.f("uq_people_email")),
    )
    op.create_table(
        "policies",
        sa.Column("digest", sa.Text(), nullable=False),
        sa.Column("body", sa.Text(), nullable=False),
        sa.Column("in_force", sa.Boolean(), server_default=sa.text("false"), nullable=False),
        sa.Column("applied_at", sa.DateTime(timezone=True), server_default=sa.text("countersign_now()"), nullable=False),
        sa.Column("applied_by", sa.Text(), nullable=False),
        sa.PrimaryKeyConstraint("digest", name=op.f("pk_policies")),
    )
    op.create_index("uq_policies_in_force", "policies", ["in_force"], unique=True, postgresql_where=sa.text("in_force"))
    op.create_table(
        "workers",
        sa.Column("name", sa.Text(), nullable=False),
        sa.Column("role", sa.Text(), nullable=False),
        sa.Column("versions", postgresql.JSONB(astext_type=sa.Text()), nullable=False),
        sa.Column("started_at", sa.DateTime(timezone=True), server_default=sa.text("countersign_now()"), nullable=False),
        sa.Column("seen_at", sa.DateTime(timezone=True), server_default=sa.text("countersign_now()"), nullable=False),
        sa.PrimaryKeyConstraint("name", name=op.f("pk_workers")),
    )
    op.create_table(
        "chat_accounts",
        sa.Column("platform", sa.Text(), nullable=False),
        sa.Column("team", sa.Text(), nullable=False),
        sa.Column("account", sa.Text(), nullable=False),
        sa.Column("person", sa.Text(), nullable=False),
        sa.Column("linked_at", sa.DateTime(timezone=True), server_default=sa.text("countersign_now()"), nullable=False),
        sa.Column("linked_by", sa.Text(), nullable=False),
        sa.ForeignKeyConstraint(["person"], ["people.name"], name=op.f("fk_chat_accounts_person")),
        sa.PrimaryKeyConstraint("platform", "team", "account", name=op.f("pk_chat_accounts")),
    )
    op.create_index("ix_chat_accounts_person", "chat_accounts", ["person"], unique=False)
    op.create_table(
        "memberships",
        sa.Column("person", sa.Text(), nullable=False),
        sa.Column("group", sa.Text(), nullable=False),
        sa.Column("until", sa.DateTime(timezone=True), nullable=True),
        sa.ForeignKeyConstraint(["person"], ["people.name"], name=op.f("fk_memberships_person")),
        sa.PrimaryKeyConstraint("person", "group", name=op.f("pk_memberships")),
    )
    op.create_table(
        "runs",
        sa.Column("id", sa.Uuid(), nullable=False),
        sa.Column("number", sa.BigInteger(), sa.Identity(always=True), nullable=False),
        sa.Column("command", sa.Text(), nullable=False),
        sa.Column("code_version", sa.Text(), nullable=False),
        sa.Column("status", sa.Text(), nullable=False),
        sa.Column("risk", sa.Integer(), nullable=False),
        sa.Column("visibility", sa.Text(), nullable=False),
        sa.Column("owner", sa.Text(), server_default=sa.text("''"), nullable=False),
        sa.Column("asker", sa.Text(), nullable=False),
        sa.Column("door", sa.Text(), nullable=False),
        sa.Column("place", postgresql.JSONB(astext_type=sa.Text()), nullable=False),
        sa.Column("arguments", postgresql.JSONB(astext_type=sa.Text()), nullable=False),
        sa.Column("origins", postgresql.JSONB(astext_type=sa.Text()), nullable=False),
        sa.Column("reason", sa.Text(), server_default=sa.text("''"), nullable=False),
        sa.Column("dry_run", sa.Boolean(), server_default=sa.text("false"), nullable=False),
        sa.Column("answer_to", sa.LargeBinary(), nullable=True),
        sa.Column("policy", sa.Text(), nullable=False),
        sa.Column("trace", sa.Text(), nullable=False),
        sa.Column("plan", postgresql.JSONB(none_as_null=True, astext_type=sa.Text()), nullable=True),
        sa.Column("digest", sa.Text(), nullable=True),
        sa.Column("revision", sa.Integer(), server_default=sa.text("0"), nullable=False),
        sa.Column("attempt", sa.Integer(), server_default=sa.text("0"), nullable=False),
        sa.Column("failures", sa.Integer(), server_default=sa.text("0"), nullable=False),
        sa.Column("worker", sa.Text(), nullable=True),
        sa.Column("lease_until", sa.DateTime(timezone=True), nullable=True),
        sa.Column("due_at", sa.DateTime(timezone=True), nullable=True),
        sa.Column("cancelled_by", sa.Text(), nullable=True),
        sa.Column("choice", sa.Text(), nullable=True),
        sa.Column("outcome", sa.Text(), server_default=sa.text("''"), nullable=False),
        sa.Column("result", postgresql.JSONB(none_as_null=True, astext_type=sa.Text()), nullable=True),
        sa.Column("created_at", sa.DateTime(timezone=True), server_default=sa.text("countersign_now()"), nullable=False),
        sa.Column("moved_at", sa.DateTime(timezone=True), server_default=sa.text("countersign_now()"), nullable=False),
        sa.ForeignKeyConstraint(["asker"], ["people.name"], name=op.f("fk_runs_asker")),
        sa.PrimaryKeyConstraint("id", name=op.f("pk_runs")),
        sa.UniqueConstraint("number", name=op.f("uq_runs_number")),
    )
    op.create_index("ix_runs_asker", "runs", ["asker", "number"], unique=False)
    op.create_index("ix_runs_command", "runs", ["command", "number"], unique=False)
    op.create_index("ix_runs_due", "runs", ["status", "due_at"], unique=False, postgresql_where=sa.text("due_at IS NOT NULL"))
    op.create_index("ix_runs_lease", "runs", ["worker"], unique=False, postgresql_where=sa.text("lease_until IS NOT NULL"))
    op.create_table(
        "tokens",
        sa.Column("id", sa.Uuid(), nullable=False),
        sa.Column("hash", sa.LargeBinary(), nullable=False),
        sa.Column("kind", sa.Text(), nullable=False),
        sa.Column("person", sa.Text(), nullable=True),
        sa.Column("label", sa.Text(), nullable=False),
        sa.Column("scopes", postgresql.ARRAY(sa.TEXT()), nullable=False),
        sa.Column("created_at", sa.DateTime(timezone=True), server_default=sa.text("countersign_now()"), nullable=False),
        sa.Column("expires_at", sa.DateTime(timezone=True), nullable=False),
        sa.Column("used_at", sa.DateTime(timezone=True), nullable=True),
        sa.Column("ended_at", sa.DateTime(timezone=True), nullable=True),
        sa.ForeignKeyConstraint(["person"], ["people.name"], name=op.f("fk_tokens_person")),
        sa.PrimaryKeyConstraint("id", name=op.f("pk_tokens")),
        sa.UniqueConstraint("hash", name=op.f("uq_tokens_hash")),
    )
    op.create_table(
        "approval_requests",
        sa.Column("id", sa.Uuid(), nullable=False),
        sa.Column("run_id", sa.Uuid(), nullable=False),
        sa.Column("revision", sa.Integer(), nullable=False),
        sa.Column("digest", sa.Text(), nullable=False),
        sa.Column("rule", postgresql.JSONB(astext_type=sa.Text()), nullable=False),
        sa.Column("policy", sa.Text(), nullable=False),
        sa.Column("state", sa.Text(), server_default=sa.text("'open'"), nullable=False),
        sa.Column("opened_at", sa.DateTime(timezone=True), server_default=sa.text("countersign_now()"), nullable=False),
        sa.Column("expires_at", sa.DateTime(timezone=True), nullable=False),
        sa.ForeignKeyConstraint(["run_id"], ["runs.id"], name=op.f("fk_approval_requests_run_id")),
        sa.PrimaryKeyConstraint("id", name=op.f("pk_approval_requests")),
        sa.UniqueConstraint("run_id", "revision", name=op.f("uq_approval_requests_run_id_revision")),
    )
    op.create_index(
        "ix_approval_requests_expires", "approval_requests", ["expires_at"], unique=False, postgresql_where=sa.text("state = 'open'")
    )
    op.create_table(
        "grants",
        sa.Column("id", sa.Uuid(), nullable=False),
        sa.Column("subject", sa.Text(), nullable=False),
        sa.Column("role", sa.Text(), nullable=False),
        sa.Column("until", sa.DateTime(timezone=True), nullable=True),
        sa.Column("run_id", sa.Uuid(), nullable=True),
        sa.Column("granted_at", sa.DateTime(timezone=True), server_default=sa.text("countersign_now()"), nullable=False),
        sa.Column("ended_at", sa.DateTime(timezone=True), nullable=True),
        sa.Column("ended_by", sa.Text(), nullable=True),
        sa.ForeignKeyConstraint(["run_id"], ["runs.id"], name=op.f("fk_grants_run_id")),
        sa.PrimaryKeyConstraint("id", name=op.f("pk_grants")),
    )
    op.create_index("ix_grants_subject", "grants", ["subject"], unique=False, postgresql_where=sa.text("ended_at IS NULL"))
    op.create_table(
        "inbox",
        sa.Column("key", sa.Text(), nullable=False),
        sa.Column("run_id", sa.Uuid(), nullable=True),
        sa.Column("answer", postgresql.JSONB(none_as_null=True, astext_type=sa.Text()), nullable=True),
        sa.Column("received_at", sa.DateTime(timezone=True), server_default=sa.text("countersign_now()"), nullable=False),
        sa.ForeignKeyConstraint(["run_id"], ["runs.id"], name=op.f("fk_inbox_run_id"), initially="DEFERRED", deferrable=True),
        sa.PrimaryKeyConstraint("key", name=op.f("pk_inbox")),
    )
    op.create_index("ix_inbox_received_at", "inbox", ["received_at"], unique=False)
    op.create_table(
        "log_lines",
        sa.Column("n", sa.BigInteger(), sa.Identity(always=True), nullable=False),
        sa.Column("run_id", sa.Uuid(), nullable=False),
        sa.Column("position", sa.Integer(), nullable=False),
        sa.Column("at", sa.DateTime(timezone=True), server_default=sa.text("countersign_now()"), nullable=False),
        sa.Column("line", sa.Text(), nullable=False),
        sa.ForeignKeyConstraint(["run_id"], ["runs.id"], name=op.f("fk_log_lines_run_id")),
        sa.PrimaryKeyConstraint("n", name=op.f("pk_log_lines")),
    )
    op.create_index("ix_log_lines_run_id", "log_lines", ["run_id", "n"], unique=False)
    op.create_table(
        "messages",
        sa.Column("id", sa.Uuid(), nullable=False),
        sa.Column("run_id", sa.Uuid(), nullable=True),
        sa.Column("kind", sa.Text(), nullable=False),
        sa.Column("platform", sa.Text(), nullable=False),
        sa.Column("team", sa.Text(), nullable=False),
        sa.Column("channel", sa.Text(), nullable=False),
        sa.Column("thread", sa.Text(), server_default=sa.text("''"), nullable=False),
        sa.Column("person", sa.Text(), server_default=sa.text("''"), nullable=False),
        sa.Column("wanted", sa.Integer(), server_default=sa.text("1"), nullable=False),
        sa.Column("shown", sa.Integer(), server_default=sa.text("0"), nullable=False),
        sa.Column("urgent", sa.Boolean(), server_default=sa.text("true"), nullable=False),
        sa.Column("due_at", sa.DateTime(timezone=True), nullable=True),
        sa.Column("lease_until", sa.DateTime(timezone=True), nullable=True),
        sa.Column("attempts", sa.Integer(), server_default=sa.text("0"), nullable=False),
        sa.Column("posting", sa.Boolean(), server_default=sa.text("false"), nullable=False),
        sa.Column("remote_channel", sa.Text(), nullable=True),
        sa.Column("remote_id", sa.Text(), nullable=True),
        sa.Column("card", postgresql.JSONB(none_as_null=True, astext_type=sa.Text()), nullable=True),
        sa.Column("answer_to", sa.LargeBinary(), nullable=True),
        sa.Column("account", sa.Text(), server_default=sa.text("''"), nullable=False),
        sa.Column("edited_at", sa.DateTime(timezone=True), nullable=True),
        sa.Column("error", sa.Text(), server_default=sa.text("''"), nullable=False),
        sa.Column("dead_at", sa.DateTime(timezone=True), nullable=True),
        sa.Column("created_at", sa.DateTime(timezone=True), server_default=sa.text("countersign_now()"), nullable=False),
        sa.ForeignKeyConstraint(["run_id"], ["runs.id"], name=op.f("fk_messages_run_id")),
        sa.PrimaryKeyConstraint("id", name=op.f("pk_messages")),
    )
    op.create_index("ix_messages_due_at", "messages", ["due_at"], unique=False, postgresql_where=sa.text("due_at IS NOT NULL"))
    op.create_index(
        "uq_messages_place",
        "messages",
        ["run_id", "kind", "platform", "team", "channel", "person"],
        unique=True,
        postgresql_where=sa.text("kind <> 'reply'"),
    )
    op.create_index("ix_messages_place", "messages", ["platform", "channel", "created_at"], unique=False)
    op.create_table(
        "secrets",
        sa.Column("run_id", sa.Uuid(), nullable=False),
        sa.Column("mark", sa.Text(), nullable=False),
        sa.Column("sealed", sa.LargeBinary(), nullable=False),
        sa.ForeignKeyConstraint(["run_id"], ["runs.id"], name=op.f("fk_secrets_run_id")),
        sa.PrimaryKeyConstraint("run_id", "mark", name=op.f("pk_secrets")),
    )
    op.create_table(
        "steps",
        sa.Column("run_id", sa.Uuid(), nullable=False),
        sa.Column("revision", sa.Integer(), nullable=False),
        sa.Column("position", sa.Integer(), nullable=False),
        sa.Column("phase", sa.Text(), nullable=False),
        sa.Column("name", sa.Text(), nullable=False),
        sa.Column("state", sa.Text(), nullable=False),
        sa.Column("attempt", sa.Integer(), nullable=False),
        sa.Column("worker", sa.Text(), nullable=False),
        sa.Column("started_at", sa.DateTime(timezone=True), server_default=sa.text("countersign_now()"), nullable=False),
        sa.Column("ended_at", sa.DateTime(timezone=True), nullable=True),
        sa.Column("result", postgresql.JSONB(none_as_null=True, astext_type=sa.Text()), nullable=True),
        sa.Column("error", sa.Text(), server_default=sa.text("''"), nullable=False),
        sa.Column("progress", postgresql.JSONB(none_as_null=True, astext_type=sa.Text()), nullable=True),
        sa.ForeignKeyConstraint(["run_id"], ["runs.id"], name=op.f("fk_steps_run_id")),
        sa.PrimaryKeyConstraint("run_id", "revision", "position", "phase", name=op.f("pk_steps")),
    )
    op.create_table(
        "decisions",
        sa.Column("id", sa.Uuid(), nullable=False),
        sa.Column("request_id", sa.Uuid(), nullable=False),
        sa.Column("run_id", sa.Uuid(), nullable=False),
        sa.Column("person", sa.Text(), nullable=False),
        sa.Column("verdict", sa.Text(), nullable=False),
        sa.Column("reason", sa.Text(), nullable=False),
        sa.Column("digest", sa.Text(), nullable=False),
        sa.Column("door", sa.Text(), nullable=False),
        sa.Column("policy", sa.Text(), nullable=False),
        sa.Column("decided_at", sa.DateTime(timezone=True), server_default=sa.text("countersign_now()"), nullable=False),
        sa.ForeignKeyConstraint(["person"], ["people.name"], name=op.f("fk_decisions_person")),
        sa.ForeignKeyConstraint(["request_id"], ["approval_requests.id"], name=op.f("fk_decisions_request_id")),
        sa.ForeignKeyConstraint(["run_id"], ["runs.id"], name=op.f("fk_decisions_run_id")),
        sa.PrimaryKeyConstraint("id", name=op.f("pk_decisions")),
        sa.UniqueConstraint("request_id", "person", name=op.f("uq_decisions_request_id_person")),
    )
