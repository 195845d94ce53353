"""The ``gitflow`` command."""

from __future__ import annotations


def main() -> None:
    """Entry point of the ``gitflow`` command."""
