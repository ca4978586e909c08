"""What Alembic runs: it works on the connection of `versions.migrate`, inside that one's transaction."""

from alembic import context

from authsvc.storage.schema import metadata

context.configure(
    connection=context.config.attributes["connection"],
    target_metadata=metadata,
    # The transaction is the caller's: all revisions or none.
    transactional_ddl=False,
)
context.run_migrations()
