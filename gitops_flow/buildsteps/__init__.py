"""Build and push steps: run in order before a deploy, each once.

Prefect's own simple steps run here, ours by a function of the caller's, and
every other in one process of the user's Python, so that what is installed
there just works.
"""

from __future__ import annotations

import contextlib
import os
from collections.abc import Callable, Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Literal, NoReturn

from gitops_flow.buildsteps import clone, interpreter, own
from gitops_flow.buildsteps.console import Console
from gitops_flow.buildsteps.foreign import Interpreter
from gitops_flow.buildsteps.interpreter import find as find_python
from gitops_flow.buildsteps.interpreter import has_package
from gitops_flow.buildsteps.step import Call, Failed, Here, check, identity, parse, secrets, told
from gitops_flow.errors import GitflowError, StepError, StoppedError
from gitops_flow.git.environment import GitEnvironment, using
from gitops_flow.model import Json, StepPolicy
from gitops_flow.pin import PULL_CODE
from gitops_flow.redact import is_secret_key

__all__ = ["Job", "find_python", "has_package", "run"]

Step = Mapping[str, Json]
Section = Literal["build", "push"]
Outputs = Mapping[str, Json]
Fill = Callable[[int, Section, int, Step, Outputs], Step]
# A step of ours: its inputs and the directory that it runs in, to its outputs.
Known = Callable[[Mapping[str, Json], Path], Outputs]

_PREFECT = "prefect.deployments.steps"
_OWN: dict[str, Callable[..., dict[str, Json]]] = {
    f"{_PREFECT}.set_working_directory": own.set_working_directory,
    f"{_PREFECT}.pull.set_working_directory": own.set_working_directory,
    f"{_PREFECT}.git_clone": clone.git_clone,
    f"{_PREFECT}.pull.git_clone": clone.git_clone,
    f"{_PREFECT}.pull.agit_clone": clone.git_clone,
    f"{_PREFECT}.run_shell_script": own.run_shell_script,
    f"{_PREFECT}.utility.run_shell_script": own.run_shell_script,
    f"{_PREFECT}.pip_install_requirements": own.pip_install_requirements,
    f"{_PREFECT}.utility.pip_install_requirements": own.pip_install_requirements,
}


@dataclass(frozen=True, slots=True)
class Job:
    """The steps of one deployment.

    ``label`` is how messages name it. ``build_at`` and ``push_at`` are the
    places of the steps (``file:line:column``), where known.
    """

    label: str
    build: tuple[Step, ...] = ()
    push: tuple[Step, ...] = ()
    build_at: tuple[str | None, ...] = ()
    push_at: tuple[str | None, ...] = ()


@dataclass(frozen=True, slots=True)
class _Place:
    """Which step: for messages and for ``fill``. ``number`` counts from 0."""

    job: int
    label: str
    section: Section
    number: int
    at: str | None


@dataclass(frozen=True, slots=True)
class _After:
    """What a step left behind for those after it."""

    result: Outputs | None
    cwd: Path


def run(
    jobs: Sequence[Job],
    fill: Fill,
    *,
    cwd: Path,
    policy: StepPolicy,
    out: Callable[[str], None],
    python: str | None = None,
    known: Mapping[str, Known] | None = None,
    hidden: Iterable[str] = (),
) -> tuple[Outputs, ...]:
    """Run the steps of ``jobs``, each job's build steps and then its push steps.

    A step that equals one already run, after steps that equal those before
    that one, is not run again: it has the same outputs.

    Args:
        jobs: in the order in which they are run.
        fill: ``(job, section, step number, step, outputs so far)`` to the step
            with its placeholders filled in; numbers count from 0. Called right
            before the step would run.
        cwd: where each job starts.
        policy: which of them may run, and the environment of what is started.
        out: is given each line that a step prints, masked.
        python: the user's Python; None finds it (:mod:`interpreter`).
        known: steps that are functions in this process, by name; each takes
            the inputs and the directory that it runs in, and returns the outputs.
        hidden: secrets to mask in what is printed, such as the values of
            blocks; texts below a key named like a secret are found here.

    Returns:
        Each job's outputs: every step's own keys, a later one's over an
        earlier one's, and under each ``id`` the outputs of that step.

    Raises:
        StepError: a step failed, and nothing after it was run; or one may not run, and none was.
    """
    plan = [list(_places(number, job)) for number, job in enumerate(jobs)]
    for places in plan:
        for place, step in places:
            with _told(place, _name(step)):
                if not policy.allows(parse(step).name):
                    raise Failed("it may not run here")
    with _Run(fill, cwd, policy, out, python, known or {}, hidden) as session:
        return tuple(session.job(places) for places in plan)


class _Run:
    def __init__(
        self,
        fill: Fill,
        cwd: Path,
        policy: StepPolicy,
        out: Callable[[str], None],
        python: str | None,
        known: Mapping[str, Known],
        hidden: Iterable[str],
    ) -> None:
        self._fill = fill
        self._cwd = cwd.resolve()
        # Steps may change it for those after them, as they do in Prefect's one process.
        self._environ = dict(policy.environ)
        self._anything = policy.functions is None
        self._out = out
        self._python = python
        self._known = known
        self._hidden = set(hidden)
        self._interpreter = Interpreter()
        self._done: dict[tuple[str, ...], _After] = {}

    def __enter__(self) -> _Run:
        return self

    def __exit__(self, kind: type[BaseException] | None, *_: object) -> None:
        self._interpreter.stop(at_once=kind is not None)

    def job(self, places: Sequence[tuple[_Place, Step]]) -> Outputs:
        outputs: dict[str, Json] = {}
        cwd = self._cwd
        chain: tuple[str, ...] = ()
        for place, step in places:
            filled = self._fill(place.job, place.section, place.number, step, dict(outputs))
            chain = (*chain, identity(filled))
            if (after := self._done.get(chain)) is None:
                after = self._done[chain] = self._step(place, step, filled, cwd)
            cwd = after.cwd
            if after.result is not None:
                if (name := parse(step).id) is not None:
                    outputs[name] = after.result
                outputs.update(after.result)
        return outputs

    def _step(self, place: _Place, step: Step, filled: Step, cwd: Path) -> _After:
        self._hidden.update(secrets(dict(filled), is_secret_key))
        console = Console(self._out, self._hidden)
        here = Here(cwd, self._environ, self._find_python, console, self._anything)
        with _told(place, _name(step), console):
            # The reserved inputs are not for the step, so placeholders don't count in them.
            call = replace(parse(filled), id=None, requires=parse(step).requires)
            self._out(f"> {call.short} ({place.label}, {place.section})")
            return self._call(call, here)

    def _call(self, call: Call, here: Here) -> _After:
        name = call.name.replace(":", ".")
        if (function := self._known.get(name)) is not None:
            try:
                return _After(function(call.inputs, here.cwd), here.cwd)
            except (TypeError, ValueError) as error:
                raise Failed(f"its inputs do not fit: {error}") from None
        if name == PULL_CODE:
            raise Failed(
                "pull_code is what a worker runs; it does nothing useful before a deploy",
                hint="move it to the pull section, or leave it out: gitflow writes it itself",
            )
        if (step := _OWN.get(name)) is not None:
            check(step, call.inputs)
            with using(GitEnvironment(self._environ)):
                result = step(here, **call.inputs)
            moved = step is own.set_working_directory
            return _After(result, Path(result["directory"]) if moved else here.cwd)
        answer = self._interpreter.call(call, here)
        for variable, value in answer.environ.items():
            if value is None:
                self._environ.pop(variable, None)
            else:
                self._environ[variable] = value
        return _After(answer.result, answer.cwd)

    def _find_python(self) -> str:
        if self._python is None:
            self._python = interpreter.find(self._environ)
        return self._python


def _places(number: int, job: Job) -> Iterator[tuple[_Place, Step]]:
    sections: tuple[tuple[Section, tuple[Step, ...], tuple[str | None, ...]], ...] = (
        ("build", job.build, job.build_at),
        ("push", job.push, job.push_at),
    )
    for section, steps, at in sections:
        for position, step in enumerate(steps):
            if step:
                where = at[position] if position < len(at) else None
                yield _Place(number, job.label, section, position, where), step


def _name(step: Step) -> str:
    return str(next(iter(step)))


@contextlib.contextmanager
def _told(place: _Place, name: str, console: Console | None = None) -> Iterator[None]:
    """Turn what goes wrong in the block into the error of this step."""
    try:
        yield
    except Failed as error:
        _fail(place, name, error, console)
    except StoppedError:
        raise
    except GitflowError as error:
        known = Failed(error.message, where=error.where, hint=error.hint, retry=error.retry)
        _fail(place, name, known, console)
    except OSError as error:
        what = os.fsdecode(error.filename) if error.filename else "a file"
        _fail(place, name, Failed(f"{what}: {error.strerror or error}"), console)


def _fail(place: _Place, name: str, error: Failed, console: Console | None) -> NoReturn:
    step = f"{place.label}: {place.section} step {place.number + 1} ({name})"
    said = error.message if console is None else console.masked(error.message)
    inside = f" (at {error.where})" if error.where else ""
    status = (
        ""
        if error.status is None or str(error.status) in said
        else (f" (exit status {error.status})")
    )
    raise StepError(
        f"{step}: {said}{status}{inside}{told(console.tail if console else ())}",
        status=error.status,
        where=place.at,
        hint=error.hint if error.hint is None or console is None else console.masked(error.hint),
        retry=error.retry,
    ) from None
