"""A service's database: columns, connections, schema, statements."""
