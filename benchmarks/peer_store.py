"""What the services of the other engines write: a SQLite file each, a statement for each step.

SQLite does not sync it (`synchronous=NORMAL`): it is the engine that remembers what was done.
"""

import sqlite3
import threading
from collections.abc import Mapping
from pathlib import Path

from .books import Books
from .orders import MONEY, PRODUCTS, UNITS, USERS, Order

SERVICES = ("order", "product", "user")
TABLES = {
    "order": "CREATE TABLE orders (number INTEGER PRIMARY KEY, user INT, product INT, "
    "quantity INT, total INT, status TEXT)",
    "product": "CREATE TABLE products (id INTEGER PRIMARY KEY, units INT CHECK (units >= 0))",
    "user": "CREATE TABLE users (id INTEGER PRIMARY KEY, money INT CHECK (money >= 0))",
}
# Each step's service and statement.
STEPS = {
    "create": (
        "order",
        "INSERT INTO orders VALUES (:number, :user, :product, :quantity, :total, 'PENDING')",
    ),
    "reserve": (
        "product",
        "UPDATE products SET units = units - :quantity WHERE id = :product AND units >= :quantity",
    ),
    "pay": (
        "user",
        "UPDATE users SET money = money - :total WHERE id = :user AND money >= :total",
    ),
    "complete": ("order", "UPDATE orders SET status = 'COMPLETED' WHERE number = :number"),
    "cancel": ("order", "UPDATE orders SET status = 'CANCELLED' WHERE number = :number"),
    "release": ("product", "UPDATE products SET units = units + :quantity WHERE id = :product"),
}


def fields(order: Order) -> dict[str, int]:
    """Return what a statement may name of an order."""
    return {**order._asdict(), "total": order.total}


def has_completed(status: str) -> bool:
    """Tell from an order's last status whether it has completed; raise `KeyError` for another."""
    return {"COMPLETED": True, "CANCELLED": False}[status]


class PeerStore:
    """The services' files in a folder."""

    def __init__(self, folder: Path) -> None:
        self._connections = {name: _connect(folder / f"{name}.db") for name in SERVICES}
        self._locks = {name: threading.Lock() for name in SERVICES}

    def do(self, step: str, order: Mapping[str, int]) -> bool:
        """Carry out a step; tell whether there was enough for it."""
        service, statement = STEPS[step]
        with self._locks[service]:
            return self._connections[service].execute(statement, order).rowcount == 1

    def create(self) -> None:
        """Make the tables, and the users and products."""
        for service, connection in self._connections.items():
            connection.execute(TABLES[service])
        goods = [(n, UNITS if n else 0) for n in range(PRODUCTS)]
        people = [(n, MONEY if n else 0) for n in range(USERS)]
        self._fill("product", "INSERT INTO products VALUES (?, ?)", goods)
        self._fill("user", "INSERT INTO users VALUES (?, ?)", people)

    def books(self) -> Books:
        """Count what is there."""
        [(units,)] = self._connections["product"].execute("SELECT SUM(units) FROM products")
        [(money,)] = self._connections["user"].execute("SELECT SUM(money) FROM users")
        statuses = self._connections["order"].execute(
            "SELECT status, COUNT(*) FROM orders GROUP BY status"
        )
        return Books(units, money, dict(statuses.fetchall()))

    def close(self) -> None:
        """Close the files."""
        for connection in self._connections.values():
            connection.close()

    def _fill(self, service: str, statement: str, rows: list[tuple[int, int]]) -> None:
        connection = self._connections[service]
        connection.execute("BEGIN")
        connection.executemany(statement, rows)
        connection.execute("COMMIT")


def _connect(file: Path) -> sqlite3.Connection:
    # Each statement is a transaction; the lock serves the threads.
    connection = sqlite3.connect(file, 30.0, isolation_level=None, check_same_thread=False)
    connection.execute("PRAGMA journal_mode = WAL")
    connection.execute("PRAGMA synchronous = NORMAL")
    return connection
