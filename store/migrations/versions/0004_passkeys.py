"""Passkeys: the keys, what they signed, challenges of enrolments; fresh logins; and votes taken back for good."""

import sqlalchemy as sa
from alembic import op

revision = "0004"
down_revision = "0003"

# Whoever took the web process over may mark votes as taken back, which only stops things; bringing one back could start something.
_FOR_GOOD = """
CREATE FUNCTION decisions_stay_withdrawn() RETURNS trigger LANGUAGE plpgsql AS $$
BEGIN
    RAISE EXCEPTION 'a vote that was taken back stays taken back' USING ERRCODE = 'insufficient_privilege';
END $$;
CREATE TRIGGER stay_withdrawn BEFORE UPDATE ON decisions FOR EACH ROW
    WHEN (OLD.withdrawn_at IS NOT NULL AND NEW.withdrawn_at IS DISTINCT FROM OLD.withdrawn_at)
    EXECUTE FUNCTION decisions_stay_withdrawn();
"""


def upgrade() -> None:
    op.execute("SET LOCAL lock_timeout = '5s'")
    op.add_column("tokens", sa.Column("fresh_at", sa.DateTime(timezone=True), nullable=True))
    _passkeys()
    _uses()
    _challenges()
    op.execute(_FOR_GOOD)
    op.execute(
        "CREATE TRIGGER changed AFTER INSERT OR UPDATE OR DELETE OR TRUNCATE ON passkeys"
        " FOR EACH STATEMENT EXECUTE FUNCTION countersign_people_changed()"
    )
    op.execute("GRANT SELECT ON passkeys, passkey_uses, passkey_challenges TO countersign_web, countersign_worker")
    op.execute("GRANT INSERT, UPDATE (revoked_at, revoked_by) ON passkeys TO countersign_worker")
    op.execute("GRANT INSERT ON passkey_uses TO countersign_worker")
    op.execute("GRANT INSERT, UPDATE (spent_at) ON passkey_challenges TO countersign_web")
    op.execute("GRANT DELETE ON passkey_challenges TO countersign_worker")


def _passkeys() -> None:
    op.create_table(
        "passkeys",
        sa.Column("id", sa.Uuid(), nullable=False),
        sa.Column("credential", sa.LargeBinary(), nullable=False),
        sa.Column("data", sa.LargeBinary(), nullable=False),
        sa.Column("person", sa.Text(), nullable=False),
        sa.Column("label", sa.Text(), nullable=False),
        sa.Column("rp_id", sa.Text(), nullable=False),
        sa.Column("sign_count", sa.BigInteger(), nullable=False),
        sa.Column("run_id", sa.Uuid(), nullable=True),
        sa.Column("added_at", sa.DateTime(timezone=True), server_default=sa.text("countersign_now()"), nullable=False),
        sa.Column("revoked_at", sa.DateTime(timezone=True), nullable=True),
        sa.Column("revoked_by", sa.Text(), nullable=True),
        sa.ForeignKeyConstraint(["person"], ["people.name"], name=op.f("fk_passkeys_person")),
        sa.ForeignKeyConstraint(["run_id"], ["runs.id"], name=op.f("fk_passkeys_run_id")),
        sa.PrimaryKeyConstraint("id", name=op.f("pk_passkeys")),
        sa.UniqueConstraint("credential", name=op.f("uq_passkeys_credential")),
    )
    op.create_index("ix_passkeys_person", "passkeys", ["person"], unique=False)


def _uses() -> None:
    op.create_table(
        "passkey_uses",
        sa.Column("passkey_id", sa.Uuid(), nullable=False),
        sa.Column("challenge", sa.LargeBinary(), nullable=False),
        sa.Column("sign_count", sa.BigInteger(), nullable=False),
        sa.Column("used_at", sa.DateTime(timezone=True), server_default=sa.text("countersign_now()"), nullable=False),
        sa.ForeignKeyConstraint(["passkey_id"], ["passkeys.id"], name=op.f("fk_passkey_uses_passkey_id")),
        sa.PrimaryKeyConstraint("passkey_id", "challenge", name=op.f("pk_passkey_uses")),
    )
    op.create_index(
        "uq_passkey_uses_count", "passkey_uses", ["passkey_id", "sign_count"], unique=True, postgresql_where=sa.text("sign_count > 0")
    )


def _challenges() -> None:
    op.create_table(
        "passkey_challenges",
        sa.Column("challenge", sa.LargeBinary(), nullable=False),
        sa.Column("person", sa.Text(), nullable=False),
        sa.Column("made_at", sa.DateTime(timezone=True), server_default=sa.text("countersign_now()"), nullable=False),
        sa.Column("spent_at", sa.DateTime(timezone=True), nullable=True),
        sa.ForeignKeyConstraint(["person"], ["people.name"], name=op.f("fk_passkey_challenges_person")),
        sa.PrimaryKeyConstraint("challenge", name=op.f("pk_passkey_challenges")),
    )
    op.create_index("ix_passkey_challenges_person", "passkey_challenges", ["person", "made_at"], unique=False)
