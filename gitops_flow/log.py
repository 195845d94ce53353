"""Logging that cannot leak: every record passes through :func:`redact`."""

from __future__ import annotations

import logging

from gitops_flow.redact import redact

NAME = "gitops_flow"


class RedactingFilter(logging.Filter):
    """Masks secrets in the finished message of each record."""

    def filter(self, record: logging.LogRecord) -> bool:
        """Replace the message by its masked form; nothing is dropped."""
        record.msg = redact(record.getMessage())
        record.args = ()
        return True


def get(name: str) -> logging.Logger:
    """Return the logger ``gitops_flow.<name>``, redacting."""
    logger = logging.getLogger(f"{NAME}.{name}")
    if not any(isinstance(f, RedactingFilter) for f in logger.filters):
        logger.addFilter(RedactingFilter())
    return logger
