"""What a run gets around its checkout: which commit, which labels, whose signature, which limits.

Here: what the worker's environment sets for it.
"""

from __future__ import annotations

import re
from typing import TYPE_CHECKING

from gitops_flow.checkout import sweep
from gitops_flow.errors import CheckoutError

if TYPE_CHECKING:
    from collections.abc import Mapping

_UNITS = {"s": 1, "m": 60, "h": 3600, "d": 86400, "k": 1e3, "M": 1e6, "G": 1e9, "T": 1e12}
_ON, _OFF = frozenset({"", "1", "true", "yes", "on"}), frozenset({"0", "false", "no", "off"})


def seconds(environ: Mapping[str, str], name: str, default: float) -> float:
    """A positive number of seconds."""
    text = environ.get(name, "")
    try:
        number = float(text) if text else default
    except ValueError:
        number = 0.0
    if not 0 < number < 10_000_000:
        raise CheckoutError(f"{name}={text!r} is not a number of seconds", hint="for example 120")
    return number


def cached(environ: Mapping[str, str]) -> bool:
    """Whether pulls may be kept."""
    text = environ.get("GITFLOW_PULL_CACHE", "").strip().lower()
    if text not in _ON | _OFF:
        raise CheckoutError(
            f"GITFLOW_PULL_CACHE={text!r} is neither on nor off", hint="write off, or leave it out"
        )
    return text not in _OFF


def limits(environ: Mapping[str, str]) -> sweep.Limits:
    """What the cache and finished runs may take."""
    usual = sweep.Limits()
    return sweep.Limits(
        _amount(environ, "GITFLOW_CACHE_MAX_SIZE", usual.size, "kMGT", "2G"),
        _amount(environ, "GITFLOW_CACHE_MAX_AGE", usual.age, "smhd", "30d"),
        _amount(environ, "GITFLOW_RUNS_MAX_AGE", usual.runs, "smhd", "12h"),
    )


def _amount(
    environ: Mapping[str, str], name: str, default: float, units: str, example: str
) -> float:
    """A number with a unit from the environment."""
    text = environ.get(name, "").strip()
    parts = re.fullmatch(rf"(\d{{1,12}}(?:\.\d+)?) ?([{units}]?)", text)
    if text and not parts:
        raise CheckoutError(f"{name}={text!r} is not an amount", hint=f"for example {example}")
    return float(parts[1]) * _UNITS.get(parts[2], 1) if parts else default
