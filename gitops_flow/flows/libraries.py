"""What a flow's source may use of libraries: types, constants, and makers of plain values.

Only these names stand for real objects, and only the makers are called.
"""

from __future__ import annotations

import abc
import collections
import collections.abc
import dataclasses
import datetime
import decimal
import enum
import ipaddress
import logging
import math
import pathlib
import re
import typing
import uuid
import zoneinfo
from typing import Any

import annotated_types
import pydantic
import pydantic.alias_generators
import pydantic.dataclasses
import pydantic.json_schema
import typing_extensions


class Unknown(Exception):  # noqa: N818 - an answer, not a failure
    """The value depends on something that only running the code would tell."""


class Unbound(Unknown):
    """A name that no code binds when it runs: only a type checker sees it."""


class BaseSettings(pydantic.BaseModel):
    """What pydantic-settings' class of this name is to a schema; only running it reads values."""

    model_config = pydantic.ConfigDict(
        extra="forbid", arbitrary_types_allowed=True, validate_default=True, protected_namespaces=()
    )


class Ignored:
    """A validator in ``Annotated``: it changes values, and not the schema."""


BUILTINS: dict[str, Any] = {
    each.__name__: each
    for each in (
        *(bool, bytes, bytearray, complex, dict, float, frozenset, int, list),
        *(object, set, str, tuple, type),
    )
}
# Their first arguments are types, in which no text may be.
TYPE_TAKERS: dict[Any, slice] = {
    pydantic.conlist: slice(0, None),
    pydantic.conset: slice(0, None),
    pydantic.confrozenset: slice(0, None),
    typing.TypeVar: slice(1, None),
    typing_extensions.TypeVar: slice(1, None),
    typing.NewType: slice(1, None),
    typing_extensions.TypeAliasType: slice(1, None),
}
# Calling these makes a value and does nothing else; none takes a type as text.
MAKERS: set[Any] = {
    *(bool, dict, float, frozenset, int, list, set, str, tuple),
    *(datetime.date, datetime.datetime, datetime.time, datetime.timedelta, datetime.timezone),
    *(decimal.Decimal, pathlib.Path, pathlib.PurePath, pathlib.PurePosixPath, uuid.UUID),
    *(pydantic.Field, pydantic.ConfigDict, pydantic.SecretStr, pydantic.SecretBytes),
    *(pydantic.conint, pydantic.confloat, pydantic.constr, pydantic.conbytes),
    *(pydantic.condecimal, pydantic.condate, pydantic.StringConstraints),
    *(pydantic.AliasChoices, pydantic.AliasPath, pydantic.Discriminator, pydantic.Tag),
    *(pydantic.AnyUrl, pydantic.HttpUrl, pydantic.AnyHttpUrl, pydantic.WithJsonSchema),
    *(annotated_types.Gt, annotated_types.Ge, annotated_types.Lt, annotated_types.Le),
    *(annotated_types.MultipleOf, annotated_types.MinLen, annotated_types.MaxLen),
    *(annotated_types.Len, annotated_types.Interval),
    *(enum.auto, dataclasses.field, zoneinfo.ZoneInfo, Ignored, *TYPE_TAKERS),
}
VALIDATORS = {pydantic.AfterValidator, pydantic.BeforeValidator, pydantic.WrapValidator}
ENUMS = {enum.Enum, enum.IntEnum, enum.StrEnum}
_NAMES: dict[str, Any] = {
    "typing": typing,
    "typing_extensions": typing_extensions,
    "collections.abc": collections.abc,
    "pydantic": pydantic,
    "pydantic.types": pydantic.types,
    "pydantic.fields": pydantic.fields,
    "pydantic.networks": pydantic.networks,
    "pydantic.functional_validators": pydantic.functional_validators,
    "pydantic.config": (pydantic, ("ConfigDict",)),
    "pydantic.main": (pydantic, ("BaseModel",)),
    "pydantic.json_schema": (pydantic.json_schema, ("WithJsonSchema", "SkipJsonSchema")),
    "pydantic.dataclasses": (pydantic.dataclasses, ("dataclass",)),
    "pydantic.alias_generators": (
        pydantic.alias_generators,
        ("to_camel", "to_pascal", "to_snake"),
    ),
    "pydantic_settings": (
        {"BaseSettings": BaseSettings, "SettingsConfigDict": pydantic.ConfigDict},
        ("BaseSettings", "SettingsConfigDict"),
    ),
    "annotated_types": annotated_types,
    "abc": (abc, ("ABC",)),
    "collections": (collections, ("OrderedDict", "defaultdict", "deque", "Counter")),
    "datetime": (datetime, ("date", "datetime", "time", "timedelta", "timezone", "UTC")),
    "decimal": (decimal, ("Decimal",)),
    "enum": (enum, ("Enum", "IntEnum", "StrEnum", "Flag", "IntFlag", "auto", "unique")),
    "ipaddress": (ipaddress, ("IPv4Address", "IPv6Address", "IPv4Network", "IPv6Network")),
    "dataclasses": (dataclasses, ("dataclass", "field", "InitVar", "KW_ONLY", "MISSING")),
    "logging": (logging, ("DEBUG", "INFO", "WARNING", "ERROR", "CRITICAL")),
    "math": (math, ("pi", "e", "tau", "inf", "nan")),
    "pathlib": (pathlib, ("Path", "PurePath", "PurePosixPath", "PosixPath")),
    "re": (re, ("Pattern",)),
    "uuid": (uuid, ("UUID",)),
    "zoneinfo": (zoneinfo, ("ZoneInfo",)),
}


def has(module: str) -> bool:
    """Whether sources may use something of that module."""
    return module in _NAMES


def known(dotted: str) -> bool:
    """Whether ``dotted`` is an attribute of a module that sources may use."""
    return dotted.rpartition(".")[0] in _NAMES


def get(dotted: str) -> Any:
    """The object of that full name.

    Raises:
        Unknown: when sources may not use it, or it does not exist.
    """
    module, _, name = dotted.rpartition(".")
    if module not in _NAMES or name.startswith("_"):
        raise Unknown
    names = _NAMES[module]
    if isinstance(names, tuple):
        names, allowed = names
        if name not in allowed:
            raise Unknown
        if isinstance(names, dict):
            return names[name]
    if not hasattr(names, name):
        raise Unknown
    return getattr(names, name)


def exports(module: str, name: str) -> bool:
    """Whether ``from module import *`` gives ``name``."""
    names = _NAMES.get(module)
    if isinstance(names, tuple):
        return name in names[1]
    return names is not None and name in getattr(names, "__all__", ())
