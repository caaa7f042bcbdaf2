"""Runs raw SQL inside a migration."""

from alembic import op


def run_script(sql: str) -> None:
    """Executes statements separated by semicolons, in the migration's transaction, exactly as they are written."""
    # SQLAlchemy would prepare them, and Postgres prepares one statement at a time; the driver itself takes many.
    op.get_bind().connection.dbapi_connection.run_async(lambda driver: driver.execute(sql))  # type: ignore[union-attr]
