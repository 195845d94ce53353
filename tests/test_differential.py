"""``gitflow deploy --all`` means what ``prefect deploy --all`` means, on one real server."""

from __future__ import annotations

import itertools
import json
import os
import re
import subprocess
import sys
from collections.abc import Iterator, Mapping
from dataclasses import dataclass, field, replace
from pathlib import Path
from typing import Any

import pytest

from tests.support.differences import ONLY_WE_REFUSE, REDEPLOYED, STORED, explained
from tests.support.differential import State, differences, read
from tests.support.prefect import SharedServer, make_block
from tests.support.repo import Repo

pytestmark = pytest.mark.real

# In manifests and sources this stands for the prefix of one side's names.
WORD = "NAMESPACE"

FLOWS = '''\
import datetime
import enum
from typing import Literal

from prefect import flow


class Size(enum.Enum):
    SMALL = "s"
    LARGE = "l"


@flow(name="NAMESPACE-plain")
def plain():
    pass


@flow(name="NAMESPACE-typed", description="Said by the decorator.", version="7")
def typed(
    who: str,
    times: int = 3,
    rate: float | None = None,
    size: Size = Size.SMALL,
    mode: Literal["fast", "slow"] = "fast",
    day: datetime.date = datetime.date(2024, 1, 31),
    nested: dict[str, list[int]] = {"a": [1]},
):
    """Say something.

    Args:
        who: is greeted.
        times: how often.
    """


@flow(name="NAMESPACE-loose")
def loose(a=None, b=None, c=None, d=None):
    """From the docstring.

    In two paragraphs.
    """


class Jobs:
    @flow(name="NAMESPACE-method")
    def nightly(self, day: str = "monday"):
        """A method."""
'''

# Steps of a package that users have installed; two namespaces have the same.
STEPS = """\
def make_image(image_name, tag):
    nested = {"list": [1, {"deep": "x"}], "empty": None}
    image = f"{image_name}:{tag}"
    return {"image": image, "tag": tag, "count": 3, "flag": True, "nested": nested}


async def push_image(image):
    return {"pushed": [image]}


def build_docker_image(image_name, dockerfile="Dockerfile", tag=None):
    return make_image(image_name, tag)
"""

FIRST = """\
name: NAMESPACE
prefect-version: 3.8.8

# Nobody asked for it, so neither side makes anything of it.
gitflow:
  environments:
    prod:
      api_url: http://127.0.0.1:9/api
      suffix: prod
      work_pool: {name: none, job_variables: {env: null}}
      parameters: {a: none}
      tags: [none]
      paused: true
      deployments: {"*": {schedules: []}}

definitions:
  pool: &pool
    name: NAMESPACE-pool
    work_queue_name: hot
  tags: &tags [shared, "1"]
  night: &night {cron: "0 3 * * *", timezone: Europe/Berlin}
  base: &base
    entrypoint: flows.py:plain
    work_pool: *pool
    tags: *tags

build:
  - prefect.deployments.steps.run_shell_script:
      id: top
      script: echo on top
      stream_output: false

deployments:
  - name: plain
    entrypoint: flows.py:plain
    work_pool: {name: NAMESPACE-pool}

  - name: merged
    <<: *base
    schedules: [*night]

  - name: full
    entrypoint: flows.py:typed
    version: "1.2.3"
    version_type: prefect:simple
    description: |
      Two lines
      of text.
    tags: [b, a, b]
    paused: true
    parameters:
      who: "{not a placeholder}"
      times: 5
      nested: {x: [1, 2], y: []}
    enforce_parameter_schema: false
    concurrency_limit: {limit: 3, collision_strategy: CANCEL_NEW, grace_period_seconds: 90}
    work_pool:
      name: NAMESPACE-pool
      work_queue_name: slow
      job_variables: {env: {A: "1", B: ""}, working_dir: /srv, stream_output: false}

  - name: limited
    entrypoint: flows.py:typed
    parameters: {who: x}
    concurrency_limit: 4
    work_pool: {name: NAMESPACE-pool, work_queue_name: null, job_variables: {}}
    description: null
    version: null
    schedules: []

  - name: clocks
    entrypoint: flows.py:loose
    work_pool: *pool
    schedules:
      - {cron: "*/15 9-17 * * 1-5", timezone: America/New_York, day_or: false}
      - {cron: "@daily", active: false}
      - {interval: 3600, anchor_date: "2024-01-01T00:00:00+02:00", timezone: Asia/Tokyo}
      - {interval: 90, anchor_date: "2024-01-01T12:00:00"}
      - {rrule: "DTSTART:20240101T000000\\nRRULE:FREQ=WEEKLY;BYDAY=MO", timezone: Europe/Paris}
      - {cron: "5 5 * * *", parameters: {a: 1, b: [x]}}

  - name: slugs
    entrypoint: flows.py:loose
    work_pool: *pool
    schedules:
      - {cron: "0 1 * * *", slug: one, active: true, parameters: {a: 1}}
      - {interval: 600, anchor_date: "2024-01-01T00:00:00Z", slug: two, active: false}

  - name: legacy
    entrypoint: flows.py:loose
    work_pool: *pool
    schedule: {cron: "30 6 * * 1", timezone: UTC}

  - name: method
    entrypoint: flows.py:Jobs.nightly
    work_pool: *pool
    parameters: {day: friday}

  - name: module-colon
    entrypoint: package.tasks:weekly
    work_pool: *pool

  - name: module-dot
    entrypoint: package.tasks.weekly
    work_pool: *pool

  - name: below
    entrypoint: package/tasks.py:weekly
    work_pool: *pool

  - name: "{{ $DIFFERENTIAL_NAME }}-env"
    entrypoint: "{{ $DIFFERENTIAL_FILE }}:loose"
    description: "by {{ $DIFFERENTIAL_NAME }}"
    tags: ["{{ $DIFFERENTIAL_NAME }}", "x-{{$DIFFERENTIAL_NAME}}"]
    parameters: {a: "{{ $DIFFERENTIAL_NAME }}", b: {c: ["{{ $DIFFERENTIAL_NAME }}!"]}}
    work_pool: {name: "{{ $DIFFERENTIAL_POOL }}", job_variables: {env: {A: "{{ $DIFFERENTIAL_NAME }}"}}}

  - name: text-tag
    entrypoint: flows.py:plain
    tags: dev
    work_pool: *pool

  - name: more-clocks
    entrypoint: flows.py:loose
    work_pool: *pool
    schedules:
      - {interval: 7200}
      - {interval: PT2H30M, anchor_date: 2024-01-01T00:00:00Z}
      - {rrule: '{"rrule": "DTSTART:20240101T000000\\nFREQ=DAILY", "timezone": "Asia/Tokyo"}'}
      - {cron: "0 0 L * *", slug: null, parameters: {}}

  - name: stored-values
    entrypoint: flows.py:loose
    build: null
    description: "{{ prefect.variables.NAMESPACE_text }}, {{ prefect.variables.NAMESPACE_number }}"
    tags: ["{{ prefect.variables.NAMESPACE_text }}"]
    parameters:
      a: "{{ prefect.variables.NAMESPACE_tree }}"
      b: "{{ prefect.variables.NAMESPACE_number }}"
      c: ["{{ prefect.blocks.local-file-system.NAMESPACE-token.basepath }}"]
      d: "at {{ prefect.blocks.local-file-system.NAMESPACE-token.basepath }}"
    work_pool: *pool
    schedules:
      - {cron: "0 2 * * *", parameters: {a: "{{ prefect.variables.NAMESPACE_number }}"}}

  - name: top-output
    entrypoint: flows.py:plain
    version: "{{ top.stdout }}"
    tags: ["{{ stdout }}"]
    work_pool: *pool
    push: []

  - name: built
    entrypoint: flows.py:loose
    build:
      - prefect.deployments.steps.run_shell_script:
          id: sha
          script: |
            echo first
            printf "%s" abc123
          env: {UNUSED: "{{ $DIFFERENTIAL_NAME }}"}
          stream_output: false
      - stepkit.steps.make_image:
          id: made
          image_name: "registry.example/{{ $DIFFERENTIAL_NAME }}"
          tag: "t-{{ prefect.variables.NAMESPACE_number }}"
    push:
      stepkit.steps.push_image:
        image: "{{ made.image }}"
    version: "{{ made.tag }}"
    tags: ["{{ made.tag }}", "of {{ made.image }}"]
    description: "{{ sha.stdout }}"
    parameters:
      a: "{{ made.nested }}"
      b: "{{ made.nested.list[1].deep }}"
      c: "{{ made.count }} of {{ made.flag }}"
      d: "{{ pushed }}"
    work_pool:
      name: NAMESPACE-pool
      job_variables: {command: "run {{ made.image }}", env: {TAG: "{{ tag }}"}, stream_output: "{{ made.flag }}"}
    schedules:
      - {cron: "0 1 * * *", active: "{{ made.flag }}", parameters: {a: "{{ made.count }}"}}
    pull:
      - prefect.deployments.steps.set_working_directory: {directory: "/opt/{{ made.tag }}"}
      - prefect.deployments.steps.run_shell_script: {script: "echo {{ made.tag }} {{ later.stdout }}"}

  - name: image-auto
    entrypoint: flows.py:plain
    work_pool: *pool
    build:
      - prefect_docker.deployments.steps.build_docker_image:
          {id: build-image, image_name: app, tag: latest, dockerfile: auto}

  - name: image-file
    entrypoint: flows.py:plain
    work_pool: *pool
    build:
      - prefect_docker.deployments.steps.build_docker_image:
          {id: build-image, image_name: app, tag: latest, dockerfile: Dockerfile}

  - name: image-named
    entrypoint: flows.py:plain
    work_pool: {name: NAMESPACE-pool, job_variables: {image: "app:latest"}}

  - name: triggered
    entrypoint: flows.py:loose
    work_pool: *pool
    triggers:
      - expect: [a.b, c.d]
        match: {prefect.resource.id: "x.*", name: ["{{ $DIFFERENTIAL_NAME }}", "y"]}
        match_related: {prefect.resource.role: flow}
        for_each: [prefect.resource.id]
        after: [e.f]
        threshold: 3
        within: 60
        parameters: {a: "{{ event.payload.x }}", b: {c: 1}}
        job_variables: {env: {A: "1"}}
        schedule_after: 30
      - type: event
        enabled: false
        posture: Proactive
        name: NAMESPACE-proactive
        description: said
        expect: [g.h]
        within: 120
      - type: compound
        require: all
        within: 600
        triggers:
          - {type: event, expect: [i.j]}
          - {type: event, expect: [k.l], match: {a: b}, posture: Reactive}
      - type: compound
        require: 1
        triggers:
          - {expect: [i.j]}
          - {expect: [k.l]}
      - type: sequence
        within: 3600
        triggers:
          - {type: event, expect: [m.n]}
          - {type: event, expect: [o.p]}

  - name: context
    entrypoint: flows.py:plain
    work_pool:
      name: NAMESPACE-pool
      job_variables: {name: "run {{ ctx.flow_run.name }}"}

  - name: secret
    entrypoint: flows.py:plain
    work_pool:
      name: NAMESPACE-pool
      job_variables:
        env:
          TOKEN: "{{ prefect.blocks.secret.NAMESPACE-token }}"
          PLACE: "{{ prefect.blocks.local-file-system.NAMESPACE-token.basepath }}/x"
          TEXT: "{{ prefect.variables.NAMESPACE_text }}"

  - name: own-clone
    entrypoint: flows.py:plain
    work_pool: *pool
    pull:
      - prefect.deployments.steps.run_shell_script: {script: "echo first"}
      - prefect.deployments.steps.git_clone:
          id: clone-step
          repository: ORIGIN
          branch: main
      - prefect.deployments.steps.pip_install_requirements:
          requirements_file: requirements.txt
          directory: "{{ clone-step.directory }}"
          stream_output: false

  - name: other-clone
    entrypoint: flows.py:plain
    work_pool: *pool
    pull:
      - prefect.deployments.steps.git_clone:
          repository: https://git.example/other.git
          access_token: "{{ prefect.blocks.secret.NAMESPACE-token }}"

  - name: no-pull
    entrypoint: flows.py:plain
    work_pool: *pool
    pull: []

  - name: null-pull
    entrypoint: flows.py:plain
    work_pool: *pool
    pull: null

  - name: single-pull
    entrypoint: flows.py:plain
    work_pool: *pool
    pull:
      prefect.deployments.steps.set_working_directory: {directory: /opt/elsewhere}
"""

# Deployed with both; then the UI is used, and SECOND is deployed.
BEFORE = """\
name: NAMESPACE
deployments:
  - name: schedules-gone
    entrypoint: flows.py:loose
    work_pool: {name: NAMESPACE-pool}
    schedules:
      - {cron: "0 3 * * *"}
      - {cron: "0 4 * * *"}

  - name: slug-gone
    entrypoint: flows.py:loose
    work_pool: {name: NAMESPACE-pool}
    schedules:
      - {cron: "0 3 * * *", slug: stays}
      - {cron: "0 4 * * *", slug: goes}

  - name: switched-off
    entrypoint: flows.py:loose
    work_pool: {name: NAMESPACE-pool}
    schedules:
      - {cron: "0 3 * * *"}
      - {cron: "0 4 * * *", timezone: UTC}

  - name: paused-in-ui
    entrypoint: flows.py:loose
    work_pool: {name: NAMESPACE-pool}

  - name: paused-by-manifest
    entrypoint: flows.py:loose
    work_pool: {name: NAMESPACE-pool}
    paused: true

  - name: rich
    entrypoint: flows.py:typed
    version: "1"
    description: before
    tags: [a, b]
    parameters: {who: x, times: 5}
    enforce_parameter_schema: false
    concurrency_limit: {limit: 3, collision_strategy: CANCEL_NEW}
    work_pool:
      name: NAMESPACE-pool
      work_queue_name: hot
      job_variables: {env: {A: "1"}, working_dir: /srv}
    pull: []

  - name: triggers-edited
    entrypoint: flows.py:loose
    work_pool: {name: NAMESPACE-pool}
    triggers:
      - {expect: [a.b]}
      - {expect: [c.d], parameters: {a: 1}}
      - {expect: [e.f], name: NAMESPACE-goes}

  - name: triggers-gone
    entrypoint: flows.py:loose
    work_pool: {name: NAMESPACE-pool}
    triggers:
      - {expect: [a.b]}

  - name: trigger-off
    entrypoint: flows.py:loose
    work_pool: {name: NAMESPACE-pool}
    triggers:
      - {expect: [a.b], name: NAMESPACE-off}

  - name: renamed
    entrypoint: flows.py:loose
    work_pool: {name: NAMESPACE-pool}
    schedules:
      - {cron: "0 3 * * *", slug: before, parameters: {a: 1}}
"""
SECOND = """\
name: NAMESPACE
deployments:
  - name: schedules-gone
    entrypoint: flows.py:loose
    work_pool: {name: NAMESPACE-pool}

  - name: slug-gone
    entrypoint: flows.py:loose
    work_pool: {name: NAMESPACE-pool}
    schedules:
      - {cron: "30 3 * * *", slug: stays}

  - name: switched-off
    entrypoint: flows.py:loose
    work_pool: {name: NAMESPACE-pool}
    schedules:
      - {cron: "0 3 * * *"}
      - {cron: "0 4 * * *", timezone: UTC}

  - name: paused-in-ui
    entrypoint: flows.py:loose
    work_pool: {name: NAMESPACE-pool}

  - name: paused-by-manifest
    entrypoint: flows.py:loose
    work_pool: {name: NAMESPACE-pool}
    paused: false

  - name: rich
    entrypoint: flows.py:typed
    parameters: {who: y}
    work_pool: {name: NAMESPACE-pool}

  - name: triggers-edited
    entrypoint: flows.py:loose
    work_pool: {name: NAMESPACE-pool}
    triggers:
      - {expect: [a.b], threshold: 2}
      - {expect: [c.d], parameters: {a: 2}, schedule_after: 5}

  - name: triggers-gone
    entrypoint: flows.py:loose
    work_pool: {name: NAMESPACE-pool}

  - name: trigger-off
    entrypoint: flows.py:loose
    work_pool: {name: NAMESPACE-pool}
    triggers:
      - {expect: [a.b], name: NAMESPACE-off}

  - name: renamed
    entrypoint: flows.py:loose
    work_pool: {name: NAMESPACE-pool}
    schedules:
      - {cron: "0 3 * * *", slug: after, replaces: before}
"""

# Accepted by Prefect, each of them.
REFUSED = {
    "placeholder": """\
  - name: embedded
    entrypoint: flows.py:plain
    description: "made by {{ nobody.stdout }}"
    work_pool: {name: NAMESPACE-pool}
  - name: whole
    entrypoint: flows.py:plain
    version: "{{ $DIFFERENTIAL_UNSET }}"
    work_pool: {name: NAMESPACE-pool}
""",
    "unnamed": """\
  - entrypoint: flows.py:plain
    work_pool: {name: NAMESPACE-pool}
""",
    "twice": """\
  - {name: twin, entrypoint: "flows.py:plain", work_pool: {name: NAMESPACE-pool}}
  - {name: twin, entrypoint: "flows.py:plain", work_pool: {name: NAMESPACE-pool}}
""",
    "repeated-key": """\
  - name: repeated
    entrypoint: flows.py:plain
    work_pool: {name: NAMESPACE-pool}
    version: "1"
    version: "2"
""",
    "step-shape": """\
  - name: shape
    entrypoint: flows.py:plain
    work_pool: {name: NAMESPACE-pool}
    pull:
      - prefect.deployments.steps.git_clone:
        repository: https://git.example/made-up.git
""",
    "reserved-tag": """\
  - name: reserved
    entrypoint: flows.py:plain
    work_pool: {name: NAMESPACE-pool}
    tags: ["gitflow:other-01234567"]
""",
    "never-runs": """\
  - name: never
    entrypoint: flows.py:plain
    work_pool: {name: NAMESPACE-pool}
    schedules: [{cron: "0 0 30 2 *", active: false}, {rrule: "FREQ=DAILY;BYMONTH=13", active: false}]
""",
    "stored-secret": """\
  - name: stored
    entrypoint: flows.py:plain
    work_pool: {name: NAMESPACE-pool, job_variables: {env: {A: "{{ $DIFFERENTIAL_TOKEN }}"}}}
""",
    "other-code": """\
  - name: other
    entrypoint: flows.py:plain
    work_pool: {name: NAMESPACE-pool}
    pull:
      - prefect.deployments.steps.git_clone: {repository: ORIGIN, branch: elsewhere}
""",
}


@dataclass
class Side:
    """One of the two commands, with a repository and a namespace of its own."""

    command: tuple[str, ...]
    namespace: str
    repo: Repo
    server: SharedServer
    environ: Mapping[str, str]
    told: list[str] = field(default_factory=list)

    def write(self, name: str, text: str) -> None:
        """Write a file with this side's names in it."""
        origin = self.repo.git("remote", "get-url", "origin")
        self.repo.write(name, text.replace(WORD, self.namespace).replace("ORIGIN", origin))

    def deploy(self, *args: str) -> int:
        """Run the command for the whole manifest; its exit code."""
        done = subprocess.run(
            [sys.executable, "-m", *self.command, "deploy", "--all", *args],
            cwd=self.repo.path,
            env={
                **os.environ,
                **self.environ,
                "PREFECT_API_URL": self.server.api_url,
                # The server may keep its own SQLite locked for a minute.
                "PREFECT_API_REQUEST_TIMEOUT": "150",
            },
            stdin=subprocess.DEVNULL,
            capture_output=True,
            text=True,
            timeout=200,
            check=False,
        )
        self.told.append(done.stdout if args else done.stdout + done.stderr)
        return done.returncode

    def state(self) -> State:
        """What the server has in this namespace."""
        words = {
            self.namespace: WORD,
            self.repo.git("remote", "get-url", "origin"): "ORIGIN",
            str(self.repo.path.resolve()): "DIRECTORY",
            self.repo.head: "HEAD",
            self.repo.head[:8]: "COMMIT",
        }
        return read(self.server.call, self.namespace, words)


@dataclass
class Sides:
    """Both commands, which get the same files."""

    prefect: Side
    gitflow: Side

    def write(self, name: str, text: str) -> None:
        """Write a file on both sides."""
        for side in (self.prefect, self.gitflow):
            side.write(name, text)

    def commit(self) -> None:
        """Commit and push on both sides."""
        for side in (self.prefect, self.gitflow):
            side.repo.commit()
            side.repo.git("push", "-q", "origin", "main")

    def deploy(self) -> tuple[State, State]:
        """Deploy with both, which must succeed; what the server has of each."""
        for side in (self.prefect, self.gitflow):
            assert side.deploy() == 0, side.told[-1]
        return self.prefect.state(), self.gitflow.state()


@pytest.fixture(scope="module")
def make_sides(
    prefect_server: SharedServer, tmp_path_factory: pytest.TempPathFactory
) -> Iterator[Any]:
    """``make_sides(name)``: two fresh namespaces, each with its repository and work pool."""
    made: list[str] = []
    numbers = itertools.count()

    def make(name: str) -> Sides:
        base = tmp_path_factory.mktemp(name)
        for module in ("stepkit/steps.py", "prefect_docker/deployments/steps.py"):
            path = base / "packages" / module
            path.parent.mkdir(parents=True)
            path.write_text(STEPS)
        sides = []
        for which, command in (("p", ("prefect", "--no-prompt")), ("g", ("gitops_flow",))):
            # Another number each time: a repeated test must find nothing of its first try.
            namespace = f"diff{next(numbers)}{name}{which}"
            repo = Repo(base / which / "project")
            bare = Repo(base / f"{which}.git", bare=True)
            repo.git("remote", "add", "origin", bare.path.as_uri())
            environ = {
                "DIFFERENTIAL_NAME": "from-env",
                "DIFFERENTIAL_FILE": "flows.py",
                "DIFFERENTIAL_TOKEN": "from-env-too",
                "DIFFERENTIAL_POOL": f"{namespace}-pool",
                "XDG_CACHE_HOME": str(base / "cache"),
                "PYTHONPATH": os.pathsep.join(
                    filter(None, [str(base / "packages"), os.environ.get("PYTHONPATH")])
                ),
            }
            _furnish(prefect_server, namespace)
            made.append(namespace)
            sides.append(Side(command, namespace, repo, prefect_server, environ))
        both = Sides(*sides)
        both.write("flows.py", FLOWS)
        both.write("package/__init__.py", "")
        both.write("package/tasks.py", FLOWS.replace("plain", "weekly"))
        return both

    yield make
    for namespace in made:
        _remove(prefect_server, namespace)


def _furnish(server: SharedServer, namespace: str) -> None:
    """A work pool, a variable of each shape, and two blocks."""
    packages = server.call("GET", "/collections/views/aggregate-worker-metadata")
    template = packages["prefect"]["process"]["default_base_job_configuration"]
    pool = {"name": f"{namespace}-pool", "type": "process", "base_job_template": template}
    server.call("POST", "/work_pools/", pool)
    for key, value in {"text": "said", "number": 7, "tree": {"a": [1, {"b": None}]}}.items():
        server.call("POST", "/variables/", {"name": f"{namespace}_{key}", "value": value})
    blocks = {"secret": {"value": "hunter2"}, "local-file-system": {"basepath": "/srv"}}
    for slug, data in blocks.items():
        make_block(server.call, slug, f"{namespace}-token", data)


def _remove(server: SharedServer, namespace: str) -> None:
    for kind in ("automations", "flows", "variables", "block_documents"):
        for item in server.call("POST", f"/{kind}/filter", {"limit": 200}):
            if namespace in str(item.get("name")):
                server.call("DELETE", f"/{kind}/{item['id']}")
    server.call("DELETE", f"/work_pools/{namespace}-pool")


@pytest.fixture(scope="module")
def big(make_sides: Any) -> tuple[Sides, tuple[State, State]]:
    """Both sides, and what each made of the big manifest."""
    sides: Sides = make_sides("first")
    sides.write("prefect.yaml", FIRST)
    sides.commit()
    return sides, sides.deploy()


@pytest.fixture(scope="module")
def first(big: tuple[Sides, tuple[State, State]]) -> tuple[State, State]:
    """What each made of the big manifest."""
    return big[1]


@pytest.fixture(scope="module")
def second(make_sides: Any) -> tuple[State, State]:
    """What each made of a manifest, edited and not committed, over what it had made before."""
    sides: Sides = make_sides("second")
    sides.write("prefect.yaml", BEFORE)
    sides.commit()
    sides.deploy()
    for side in (sides.prefect, sides.gitflow):
        _use_ui(side)
    sides.write("prefect.yaml", SECOND)
    return sides.deploy()


def _use_ui(side: Side) -> None:
    """Pause a deployment, and switch a schedule and a trigger off."""
    flow = f"{side.namespace}-loose"
    paused = side.server.call("GET", f"/deployments/name/{flow}/paused-in-ui")
    side.server.call("POST", f"/deployments/{paused['id']}/pause_deployment")
    other = side.server.call("GET", f"/deployments/name/{flow}/switched-off")
    schedule = next(item for item in other["schedules"] if item["schedule"]["timezone"])
    path = f"/deployments/{other['id']}/schedules/{schedule['id']}"
    side.server.call("PATCH", path, {"active": False})
    query = {"automations": {"name": {"any_": [f"{side.namespace}-off"]}}}
    for item in side.server.call("POST", "/automations/filter", query):
        side.server.call("PATCH", f"/automations/{item['id']}", {"enabled": False})


def test_both_commands_make_the_same_of_every_feature_but_for_the_documented_differences(
    first: tuple[State, State],
) -> None:
    _, left = explained(*first)
    assert not left, "\n".join(map(str, left))


def test_every_deployment_of_the_manifest_was_compared(first: tuple[State, State]) -> None:
    asked = re.findall(r"^  - name: (.*)$", FIRST, re.MULTILINE)
    assert len(first[0]) == len(asked) >= 18


def test_a_second_deploy_does_the_same_but_for_the_documented_differences(
    second: tuple[State, State],
) -> None:
    _, left = explained(*second, (*REDEPLOYED, *STORED))
    assert not left, "\n".join(map(str, left))


def test_no_documented_difference_is_imaginary(
    first: tuple[State, State], second: tuple[State, State]
) -> None:
    known = (*REDEPLOYED, *STORED)
    used = {reason for states in (first, second) for reason in explained(*states, known)[0]}
    assert used == {item.id for item in known}


def test_a_second_deploy_of_the_same_manifest_writes_nothing(
    big: tuple[Sides, tuple[State, State]], first: tuple[State, State]
) -> None:
    ours = big[0].gitflow
    assert ours.deploy("--json") == 0, ours.told[-1]
    report = json.loads(ours.told[-1])
    changed = {item["name"]: item["fields"] for item in report["deployments"] if item["fields"]}
    assert changed == {}
    assert ours.state() == first[1]


def test_what_prefect_deployed_is_the_same_as_ours_once_we_have_adopted_it(
    big: tuple[Sides, tuple[State, State]], first: tuple[State, State]
) -> None:
    adopting = replace(big[0].prefect, command=big[0].gitflow.command)
    assert adopting.deploy() == 0, adopting.told[-1]
    left = differences(_without_digests(adopting.state()), _without_digests(first[1]))
    assert not left, "\n".join(map(str, left))


def _without_digests(state: State) -> State:
    """Two namespaces have other file contents, so their snapshots and marks have other digests."""
    text = re.sub(r"\b[0-9a-f]{40}\b", "SNAPSHOT", json.dumps(state))
    result: State = json.loads(re.sub(r"(gitflow:\w+)-[0-9a-f]{8}", r"\1", text))
    return result


def test_prefect_deploys_what_only_we_refuse(make_sides: Any) -> None:
    side: Side = make_sides("accepted").prefect
    side.write("prefect.yaml", _manifest(*REFUSED.values()))
    side.write(".env", "PASSWORD=x")
    assert side.deploy() == 0, side.told[-1]


@pytest.mark.parametrize("ids", [("repeated-key",), ("unnamed", "twice", "step-shape", "reserved-tag", "never-runs"), ("placeholder", "stored-secret"), ("other-code",)], ids="+".join)  # fmt: skip
def test_what_only_we_refuse_is_refused_for_the_documented_reason(
    ids: tuple[str, ...], make_sides: Any
) -> None:
    side: Side = make_sides("refused").gitflow
    side.write("prefect.yaml", _manifest(*(REFUSED[each] for each in ids)))
    side.repo.commit()
    assert side.deploy() == 1
    for item in ONLY_WE_REFUSE:
        assert bool(re.search(item.pattern, side.told[-1])) == (item.id in ids), side.told[-1]
    assert side.state() == {}


def test_files_that_look_like_secrets_are_refused_for_the_documented_reason(
    make_sides: Any,
) -> None:
    side: Side = make_sides("files").gitflow
    one = "  - {name: one, entrypoint: 'flows.py:plain', work_pool: {name: NAMESPACE-pool}}\n"
    side.write("prefect.yaml", _manifest(one))
    side.write(".env", "PASSWORD=x")
    assert side.deploy() == 1
    found = [item.id for item in ONLY_WE_REFUSE if re.search(item.pattern, side.told[-1])]
    assert found == ["secret-files"]


def test_every_documented_refusal_is_tried() -> None:
    assert {*REFUSED, "secret-files"} == {item.id for item in ONLY_WE_REFUSE}


def _manifest(*deployments: str) -> str:
    return "name: NAMESPACE\ndeployments:\n" + "".join(deployments)


def test_the_documented_differences_are_exactly_the_tested_ones() -> None:
    page = Path(__file__).parents[1] / "docs" / "differences.md"
    documented = re.findall(r"^\| `([a-z-]+)` \|", page.read_text(), re.MULTILINE)
    assert documented == [item.id for item in (*STORED, *REDEPLOYED, *ONLY_WE_REFUSE)]
