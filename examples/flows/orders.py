"""Orders from a CSV file, added up per day and customer, into SQLite."""

from __future__ import annotations

import csv
import sqlite3
from contextlib import closing
from pathlib import Path

from prefect import flow, task
from shop import Order, totals

HERE = Path(__file__).resolve().parent.parent


@task
def extract(source: Path) -> list[Order]:
    """Read the orders; a line without an amount is an error, not a zero."""
    with source.open(newline="", encoding="utf-8") as lines:
        return [Order.read(row) for row in csv.DictReader(lines)]


@task(retries=2, retry_delay_seconds=5)
def load(database: Path, rows: list[tuple[str, str, float]]) -> int:
    """Replace the totals of the days in ``rows``, so that a second run changes nothing."""
    with closing(sqlite3.connect(database)) as connection, connection:
        connection.execute(
            "CREATE TABLE IF NOT EXISTS totals"
            " (day TEXT, customer TEXT, amount REAL, PRIMARY KEY (day, customer))"
        )
        connection.executemany("INSERT OR REPLACE INTO totals VALUES (?, ?, ?)", rows)
    return len(rows)


@flow(log_prints=True)
def orders(
    source: str = "data/orders.csv", database: str = "totals.db", minimum_amount: float = 1.0
) -> int:
    """Load the daily totals per customer.

    Args:
        source: CSV file with the columns day, customer and amount; a relative
            path starts at the manifest's directory.
        database: SQLite file to write to.
        minimum_amount: smaller orders are left out.
    """
    found = extract(HERE / source)
    kept = [order for order in found if order.amount >= minimum_amount]
    count = load(Path(database), totals(kept))
    print(f"{len(found)} orders, {len(found) - len(kept)} left out, {count} totals in {database}")
    return count


if __name__ == "__main__":
    orders()
