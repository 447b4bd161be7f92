"""The stack most teams would write for the same promise: Bolt in FastAPI, SQLAlchemy's ORM, Dramatiq over Redis.

Defaults everywhere, except that the pools keep every connection they open. Every slash command is checked against a table of grants,
stored with its audit event before the ack, done by a worker, audited again and answered to the response_url.
"""
