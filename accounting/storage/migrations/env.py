"""Alembic's entry point: runs the migrations on the connection that `accounting.storage.migrate` hands over."""

from alembic import context

connection = context.config.attributes["connection"]
context.configure(connection=connection, transaction_per_migration=False, version_table="prv_schema_version")
with context.begin_transaction():
    context.run_migrations()
