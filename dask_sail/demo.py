"""``python -m dask_sail.demo``: a shop's database, read in parallel into a Dask DataFrame."""

from __future__ import annotations

import argparse
import sqlite3
import tempfile
import time
from pathlib import Path

import dask.dataframe as dd
from dask.diagnostics import ProgressBar

import dask_sail  # noqa: F401 - attaches dd.read_python_source

ORDERS = 1_200_000
CUSTOMERS = 20_000

SCHEMA = """
CREATE TABLE customers (id INTEGER PRIMARY KEY, name TEXT NOT NULL, country TEXT NOT NULL);
CREATE TABLE orders (
    id INTEGER PRIMARY KEY, customer_id INTEGER NOT NULL, country TEXT NOT NULL,
    status TEXT NOT NULL, amount REAL NOT NULL, discount REAL, ordered_at TIMESTAMP NOT NULL
);
"""

# Knuth's multiplicative hash stands in for chance: the shop is the same on every machine.
FILL = """
WITH RECURSIVE n(i) AS (SELECT 1 UNION ALL SELECT i + 1 FROM n WHERE i < :count),
     h(i, r) AS (SELECT i, i * 2654435761 % 4294967296 FROM n)
"""

FILL_CUSTOMERS = (
    FILL
    + """
INSERT INTO customers
SELECT i, 'Customer ' || i, json_extract('["AT","BR","DE","FR","IN","JP","NG","US"]',
       '$[' || (r % 8) || ']') FROM h
"""
)

FILL_ORDERS = (
    FILL
    + """
INSERT INTO orders
SELECT h.i, c.id, c.country,
       CASE WHEN r % 20 = 0 THEN 'returned' WHEN r % 7 = 0 THEN 'open' ELSE 'paid' END,
       (r % 100000) / 100.0, CASE WHEN r % 3 = 0 THEN (r % 30) / 100.0 END,
       datetime('2025-01-01', '+' || (r % 31536000) || ' seconds')
FROM h JOIN customers c ON c.id = r % :customers + 1
"""
)


def make_shop(path: Path, orders: int = ORDERS) -> None:
    """Write a shop's SQLite database with so many orders."""
    path.unlink(missing_ok=True)
    connection = sqlite3.connect(path)
    try:
        connection.execute("PRAGMA journal_mode = OFF")
        connection.executescript(SCHEMA)
        connection.execute(FILL_CUSTOMERS, {"count": CUSTOMERS})
        connection.execute(FILL_ORDERS, {"count": orders, "customers": CUSTOMERS})
        connection.commit()
    finally:
        connection.close()


def _say(title: str) -> None:
    print(f"\n== {title}", flush=True)


def run(path: Path, orders: int = ORDERS) -> None:
    """Make the shop and read it, telling what happens."""
    start = time.perf_counter()
    _say(f"making a shop database with {orders:,} orders: {path}")
    make_shop(path, orders)
    print(f"{path.stat().st_size / 1e6:.0f} MB in {time.perf_counter() - start:.1f} s")

    _say("planning: eight ranges of the primary key, read in parallel")
    frame = dd.read_python_source(
        "jdbc",
        url=f"jdbc:sqlite:{path}",
        dbtable="orders",
        partitionColumn="id",
        lowerBound=1,
        upperBound=orders,
        numPartitions=8,
    )
    print(frame.sail.inspect())

    _say("every column of every order")
    begun = time.perf_counter()
    with ProgressBar():
        whole = frame.compute()
    seconds = time.perf_counter() - begun
    print(f"{len(whole):,} rows in {seconds:.1f} s: {len(whole) / seconds / 1e6:.1f}M rows/s")
    print(whole.dtypes.to_string())

    _say("revenue by country: only two columns are read")
    revenue = frame[frame.status == "paid"].groupby("country").amount.sum()
    with ProgressBar():
        print(revenue.compute().sort_index().round(2).to_string())

    _say("large orders of the last ranges: what the database is asked for")
    large = frame[(frame.id > orders // 2) & (frame.amount >= 999)][["id", "country", "amount"]]
    print(large.sail.inspect())
    with ProgressBar():
        found = large.compute()
    print(f"\n{len(found):,} orders, for example\n{found.head(3).to_string(index=False)}")
    print(f"\nall in {time.perf_counter() - start:.1f} s")


def main() -> None:
    """Run the demonstration from the command line."""
    parser = argparse.ArgumentParser(prog="python -m dask_sail.demo", description=__doc__)
    parser.add_argument("--orders", type=int, default=ORDERS, help="how many orders to make")
    parser.add_argument(
        "--keep", type=Path, metavar="FILE", help="write the database here, keep it"
    )
    arguments = parser.parse_args()
    if arguments.keep:
        run(arguments.keep, arguments.orders)
        print(f"\nthe database stays at {arguments.keep}")
        return
    with tempfile.TemporaryDirectory(prefix="dask-sail-") as folder:
        run(Path(folder) / "shop.db", arguments.orders)


if __name__ == "__main__":
    main()
