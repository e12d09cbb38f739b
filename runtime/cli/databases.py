"""Prepare a PostgreSQL server: `create-databases`."""

from ..secrets import read_secrets
from ..system.logs import configure_logging
from ..system.stack import read_stacks
from .app import app, settings_for
from .terminal import console


@app.command("create-databases")
def create_databases() -> None:
    """Make each stack's database, and the role that owns it.

    Only that role may enter it. They are made at SAGA_ADMIN_URL.
    """
    from ..deploy.databases import administrator, administrator_url, create_database

    settings = settings_for(None)
    configure_logging(settings)
    names = dict.fromkeys(stack.database for stack in read_stacks(settings.saga_stacks))
    variables = {name: f"{name.upper()}_DATABASE_PASSWORD" for name in names}
    url, passwords = administrator_url(), read_secrets(variables.values())
    with administrator(url) as connection:
        for name in names:
            create_database(connection, name, passwords[variables[name]])
            console.print(f"{name}: the database and its role are ready")
