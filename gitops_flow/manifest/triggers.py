"""``triggers:``: what each kind may hold, and the automation that it asks for.

The models take what Prefect 3.8's own take. A nested trigger has no name,
action or description of its own: Prefect ignores those there.
"""

from __future__ import annotations

import datetime
from typing import TYPE_CHECKING, Annotated, Any, Literal

from pydantic import (
    AfterValidator,
    BaseModel,
    BeforeValidator,
    ConfigDict,
    Field,
    TypeAdapter,
    ValidationError,
    model_validator,
)

from gitops_flow.manifest.placeholders import placeholders
from gitops_flow.manifest.schema import wrong
from gitops_flow.manifest.wording import described, quoted
from gitops_flow.model import Automation
from gitops_flow.names import did_you_mean

if TYPE_CHECKING:
    from collections.abc import Hashable, Iterator

    from pydantic_core import ErrorDetails

    from gitops_flow.model import Json

    Path = tuple[Hashable, ...]

_LEAST_PROACTIVE = datetime.timedelta(seconds=10)
_LEAST_RANGE = datetime.timedelta(minutes=5)
_ZERO = datetime.timedelta()


def _events(value: Any) -> Any:
    if isinstance(value, str):
        raise wrong(f"expected a list, got {described(value)}", f"write [{value[:80]}]")
    return value


def _labels(value: Any) -> Any:
    if not isinstance(value, dict):
        raise wrong(f"expected a mapping of labels, got {described(value)}")
    for label, wanted in value.items():
        several = isinstance(wanted, list) and all(isinstance(each, str) for each in wanted)
        if not isinstance(wanted, str) and not several:
            hint = "put it in quotes" if isinstance(wanted, int | float) else None
            message = f"label {quoted(str(label))}: expected text or a list of text"
            raise wrong(f"{message}, got {described(wanted)}", hint)
    return value


def _related(value: Any) -> Any:
    return [_labels(each) for each in value] if isinstance(value, list) else _labels(value)


def _not_negative(value: datetime.timedelta) -> datetime.timedelta:
    if value < _ZERO:
        raise wrong("expected a duration of 0 or more")
    return value


def _five_minutes(value: datetime.timedelta) -> datetime.timedelta:
    if value < _LEAST_RANGE:
        raise wrong("expected a duration of at least 300 seconds")
    return value


def _require(value: Any) -> Any:
    if isinstance(value, str) and value in ("any", "all"):
        return value
    try:
        return _NUMBER.validate_python(value)
    except ValidationError:
        raise wrong(f"expected any, all or a number, got {described(value)}") from None


_NUMBER = TypeAdapter(int)
Events = Annotated[set[str], BeforeValidator(_events)]
Labels = Annotated[dict[str, Any], BeforeValidator(_labels)]
Related = Annotated[Any, BeforeValidator(_related)]
Duration = Annotated[datetime.timedelta, AfterValidator(_not_negative)]
Window = Annotated[datetime.timedelta, AfterValidator(_five_minutes)]


class _Trigger(BaseModel):
    model_config = ConfigDict(frozen=True, ser_json_timedelta="float")


class _EventTrigger(_Trigger):
    type: Literal["event"] = "event"
    match: Labels = Field(default_factory=dict)
    match_related: Related = Field(default_factory=dict)
    after: Events = Field(default_factory=set)
    expect: Events = Field(default_factory=set)
    for_each: Events = Field(default_factory=set)
    posture: Literal["Reactive", "Proactive"] = "Reactive"
    threshold: int = 1
    within: Duration = _ZERO

    @model_validator(mode="after")
    def _absence_takes_time(self) -> _EventTrigger:
        if self.posture == "Proactive" and _ZERO < self.within < _LEAST_PROACTIVE:
            raise wrong("'within' of a Proactive trigger must be at least 10 seconds")
        return self


class _Query(_Trigger):
    name: Literal["lateness", "duration", "successes"]
    threshold: float
    operator: Literal["<", "<=", ">", ">="]
    range: Window = _LEAST_RANGE
    firing_for: Window = _LEAST_RANGE


class _MetricTrigger(_Trigger):
    type: Literal["metric"] = "metric"
    match: Labels = Field(default_factory=dict)
    match_related: Related = Field(default_factory=dict)
    posture: Literal["Metric"] = "Metric"
    metric: _Query


class _SequenceTrigger(_Trigger):
    type: Literal["sequence"] = "sequence"
    triggers: list[Any]
    within: datetime.timedelta | None = None


class _CompoundTrigger(_Trigger):
    type: Literal["compound"] = "compound"
    triggers: list[Any]
    within: datetime.timedelta | None = None
    require: Annotated[Any, BeforeValidator(_require)]

    @model_validator(mode="after")
    def _enough_to_require(self) -> _CompoundTrigger:
        if isinstance(self.require, int) and not 1 <= self.require <= len(self.triggers):
            count = len(self.triggers)
            raise wrong(f"'require' is {self.require}; there are {count} triggers to require")
        return self


class _Action(_Trigger):
    """The keys of an outermost trigger that belong to its automation."""

    name: str | None = None
    description: str = ""
    enabled: bool = True
    parameters: dict[str, Any] | None = None
    job_variables: dict[str, Any] | None = None
    schedule_after: Duration = _ZERO


_MODELS: dict[str, type[_Trigger]] = {
    "event": _EventTrigger,
    "metric": _MetricTrigger,
    "compound": _CompoundTrigger,
    "sequence": _SequenceTrigger,
}


def check(raw: Json, path: Path = ()) -> Iterator[tuple[Path, ErrorDetails | str, str | None]]:
    """What is wrong with an item of ``triggers:``.

    Yields the path of a value, what pydantic says about it (or a message), and a
    hint. Values that hold a placeholder are not judged.
    """
    yield from _check(raw, path, outermost=True)


def ignored(raw: Json, path: Path = ()) -> Iterator[tuple[Path, list[str]]]:
    """The keys of an item of ``triggers:`` that Prefect ignores, and those it knows there."""
    yield from _ignored(raw, path, outermost=True)


def metrics(raw: Json, path: Path = (), *, outermost: bool = True) -> Iterator[Path]:
    """The places of metric triggers in an item of ``triggers:``."""
    if not isinstance(raw, dict):
        return
    if _kind(raw, outermost) == "metric":
        yield path
    elif isinstance(nested := raw.get("triggers"), list):
        for number, each in enumerate(nested):
            yield from metrics(each, (*path, "triggers", number), outermost=False)


def to_model(raw: dict[str, Json], deployment: str, number: int) -> Automation:
    """The automation that a trigger asks for; it must have passed :func:`check`.

    ``number`` counts the deployment's triggers from 1.
    """
    action = _Action.model_validate(_pick(raw, _Action))
    return Automation(
        name=action.name or f"{deployment}__automation_{number}",
        trigger=_server_shape(raw, outermost=True),
        description=action.description,
        enabled=action.enabled if "enabled" in action.model_fields_set else None,
        parameters=action.parameters,
        job_variables=action.job_variables,
        schedule_after=action.schedule_after.total_seconds(),
    )


def _check(
    raw: Json, path: Path, *, outermost: bool
) -> Iterator[tuple[Path, ErrorDetails | str, str | None]]:
    if not isinstance(raw, dict):
        yield path, f"expected a mapping, got {described(raw)}", "write 'key: value' lines below it"
        return
    kind = _kind(raw, outermost)
    if not isinstance(kind, str) or kind not in _MODELS:
        if not placeholders(kind):
            message = f"expected {', '.join(_MODELS)}, got {described(kind)}"
            hint = did_you_mean(kind, _MODELS) if isinstance(kind, str) else None
            yield (*path, "type"), message, hint
        return
    models: list[type[_Trigger]] = [_MODELS[kind], _Action] if outermost else [_MODELS[kind]]
    for model in models:
        try:
            model.model_validate(_pick(raw, model))
        except ValidationError as error:
            for detail in error.errors(include_url=False):
                if not placeholders(detail["input"]):
                    yield path, detail, None
    nested = raw.get("triggers")
    if issubclass(_MODELS[kind], _SequenceTrigger | _CompoundTrigger) and isinstance(nested, list):
        for number, each in enumerate(nested):
            yield from _check(each, (*path, "triggers", number), outermost=False)


def _ignored(raw: Json, path: Path, *, outermost: bool) -> Iterator[tuple[Path, list[str]]]:
    model = _MODELS.get(str(_kind(raw, outermost))) if isinstance(raw, dict) else None
    if model is None:
        return
    known = [*model.model_fields, *(_Action.model_fields if outermost else ())]
    for key, value in raw.items():
        if key not in known:
            yield (*path, key), known
        elif key == "triggers" and isinstance(value, list):
            for number, each in enumerate(value):
                yield from _ignored(each, (*path, key, number), outermost=False)
        elif key == "metric" and isinstance(value, dict):
            for name in value.keys() - _Query.model_fields.keys():
                yield (*path, key, name), list(_Query.model_fields)


def _kind(raw: dict[str, Json], outermost: bool) -> Any:
    """Which kind of trigger is meant; Prefect looks at the posture first or last."""
    if "type" in raw:
        return raw["type"]
    metric = raw.get("posture") == "Metric"
    if metric and outermost:
        return "metric"
    if "triggers" in raw:
        return "compound" if "require" in raw else "sequence"
    return "metric" if metric else "event"


def _pick(raw: dict[str, Json], model: type[_Trigger]) -> dict[str, Json]:
    return {key: value for key, value in raw.items() if key in model.model_fields}


def _server_shape(raw: dict[str, Json], *, outermost: bool = False) -> dict[str, Json]:
    """A trigger as the server gives it back; what it keeps as a set is sorted here."""
    model = _MODELS[_kind(raw, outermost)]
    checked = model.model_validate(_pick(raw, model))
    shape: dict[str, Json] = checked.model_dump(mode="json")
    if isinstance(checked, _EventTrigger):
        for name in ("after", "expect", "for_each"):
            shape[name] = sorted(shape[name])
        if checked.posture == "Proactive" and not checked.within:
            shape["within"] = _LEAST_PROACTIVE.total_seconds()
    if isinstance(checked, _SequenceTrigger | _CompoundTrigger):
        shape["triggers"] = [_server_shape(each) for each in checked.triggers]
    return shape
