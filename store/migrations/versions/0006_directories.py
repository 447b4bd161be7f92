"""Where people and their groups come from: managers, what each source says, and the feed of a directory."""

import sqlalchemy as sa
from alembic import op
from sqlalchemy.dialects import postgresql

revision = "0006"
down_revision = "0005"


def upgrade() -> None:
    op.execute("SET LOCAL lock_timeout = '5s'")
    _people()
    _sources()
    _feed()
    _rights()


def _people() -> None:
    op.add_column("people", sa.Column("manager", sa.Text(), nullable=True))
    op.add_column("people", sa.Column("leaving", sa.Boolean(), server_default=sa.text("false"), nullable=False))
    op.create_index("ix_people_leaving", "people", ["name"], unique=False, postgresql_where=sa.text("leaving"))
    # However somebody is deactivated, what they left behind is taken up.
    op.execute(
        "CREATE FUNCTION countersign_person_left() RETURNS trigger LANGUAGE plpgsql AS"
        " $$ BEGIN NEW.leaving := NOT NEW.active; RETURN NEW; END $$"
    )
    op.execute(
        "CREATE TRIGGER left_or_back BEFORE UPDATE OF active ON people FOR EACH ROW WHEN (OLD.active IS DISTINCT FROM NEW.active)"
        " EXECUTE FUNCTION countersign_person_left()"
    )


def _sources() -> None:
    op.create_table(
        "vouchers",
        sa.Column("person", sa.Text(), nullable=False),
        sa.Column("source", sa.Text(), nullable=False),
        sa.Column("active", sa.Boolean(), nullable=False),
        sa.Column("since", sa.DateTime(timezone=True), server_default=sa.text("countersign_now()"), nullable=False),
        sa.ForeignKeyConstraint(["person"], ["people.name"], name=op.f("fk_vouchers_person")),
        sa.PrimaryKeyConstraint("person", "source", name=op.f("pk_vouchers")),
    )
    op.execute("INSERT INTO vouchers (person, source, active) SELECT name, 'policy', true FROM people WHERE active AND NOT service")
    op.add_column("memberships", sa.Column("source", sa.Text(), server_default=sa.text("'policy'"), nullable=False))
    op.drop_constraint("pk_memberships", "memberships")
    op.create_primary_key("pk_memberships", "memberships", ["person", "group", "source"])
    op.create_table(
        "directories",
        sa.Column("source", sa.Text(), nullable=False),
        sa.Column("due_at", sa.DateTime(timezone=True), server_default=sa.text("countersign_now()"), nullable=False),
        sa.Column("read_at", sa.DateTime(timezone=True), nullable=True),
        sa.Column("error", sa.Text(), server_default=sa.text("''"), nullable=False),
        sa.PrimaryKeyConstraint("source", name=op.f("pk_directories")),
    )


def _feed() -> None:
    op.create_table(
        "directory_feed",
        sa.Column("n", sa.BigInteger(), sa.Identity(always=True), nullable=False),
        sa.Column("resource", sa.Uuid(), nullable=False),
        sa.Column("kind", sa.Text(), nullable=False),
        sa.Column("version", sa.Integer(), nullable=False),
        sa.Column("body", postgresql.JSONB(none_as_null=True, astext_type=sa.Text()), nullable=True),
        sa.Column("token", sa.LargeBinary(), nullable=True),
        sa.Column("received_at", sa.DateTime(timezone=True), server_default=sa.text("countersign_now()"), nullable=False),
        sa.Column("applied_at", sa.DateTime(timezone=True), nullable=True),
        sa.Column("refused", sa.Text(), server_default=sa.text("''"), nullable=False),
        sa.PrimaryKeyConstraint("n", name=op.f("pk_directory_feed")),
        sa.UniqueConstraint("resource", "version", name=op.f("uq_directory_feed_resource_version")),
    )
    op.create_index("ix_directory_feed_waiting", "directory_feed", ["n"], unique=False, postgresql_where=sa.text("applied_at IS NULL"))
    op.create_index("ix_directory_feed_user", "directory_feed", [sa.text("lower(body ->> 'userName')")], unique=False)
    op.create_table(
        "directory_people",
        sa.Column("resource", sa.Uuid(), nullable=False),
        sa.Column("person", sa.Text(), nullable=False),
        sa.ForeignKeyConstraint(["person"], ["people.name"], name=op.f("fk_directory_people_person")),
        sa.PrimaryKeyConstraint("resource", name=op.f("pk_directory_people")),
    )


def _rights() -> None:
    op.execute("GRANT SELECT ON vouchers, directories, directory_feed, directory_people TO countersign_web, countersign_worker")
    op.execute("GRANT INSERT, UPDATE, DELETE ON vouchers TO countersign_worker")
    op.execute("GRANT INSERT, UPDATE ON directories, directory_people TO countersign_worker")
    # The web says what it was told; only a worker, which checks who told it, makes it so.
    op.execute("GRANT INSERT (resource, kind, version, body, token) ON directory_feed TO countersign_web, countersign_worker")
    op.execute("GRANT UPDATE (applied_at, refused), DELETE ON directory_feed TO countersign_worker")
    op.execute(
        "CREATE FUNCTION countersign_keep_directory_tokens() RETURNS trigger LANGUAGE plpgsql AS $$ BEGIN"
        " IF current_user = 'countersign_web' AND (NEW.kind = 'scim' OR (TG_OP = 'UPDATE' AND OLD.kind = 'scim')) THEN"
        "  RAISE EXCEPTION 'permission denied: the web process makes and changes no tokens of a directory'"
        "  USING ERRCODE = 'insufficient_privilege';"
        " END IF; RETURN NEW; END $$"
    )
    op.execute(
        "CREATE TRIGGER keep_directory_tokens BEFORE INSERT OR UPDATE ON tokens FOR EACH ROW"
        " EXECUTE FUNCTION countersign_keep_directory_tokens()"
    )
