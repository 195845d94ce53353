"""What an order is. Imported by the flows: it travels in the same snapshot."""

from __future__ import annotations

from collections import defaultdict
from dataclasses import dataclass


@dataclass(frozen=True)
class Order:
    """One order; ``day`` is an ISO date, ``amount`` in euros."""

    day: str
    customer: str
    amount: float

    @classmethod
    def read(cls, row: dict[str, str]) -> Order:
        """An order from one line of a CSV file."""
        return cls(row["day"], row["customer"].strip().lower(), float(row["amount"]))


def totals(orders: list[Order]) -> list[tuple[str, str, float]]:
    """``(day, customer, sum)`` for each day and customer, in order."""
    sums: dict[tuple[str, str], float] = defaultdict(float)
    for order in orders:
        sums[order.day, order.customer] += order.amount
    return [(day, customer, round(amount, 2)) for (day, customer), amount in sorted(sums.items())]
