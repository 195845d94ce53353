"""Broken manifests, each with all that is said of it, word for word."""

from __future__ import annotations

from typing import TYPE_CHECKING

import pytest

from gitops_flow import manifest
from gitops_flow.errors import ManifestError

if TYPE_CHECKING:
    from pathlib import Path

BROKEN: dict[str, tuple[str | bytes, list[str]]] = {
    "empty file": (
        "",
        [
            "p.yaml:1:1: the file is empty (add a 'deployments:' list)",
        ],
    ),
    "only comments": (
        "# nothing\n",
        [
            "p.yaml:1:1: the file is empty (add a 'deployments:' list)",
        ],
    ),
    "a list at the top": (
        "- name: etl\n",
        [
            "p.yaml:1:1: expected a mapping at the top level, got a list (start with 'deployments:')",
        ],
    ),
    "plain text": (
        "hello\n",
        [
            "p.yaml:1:1: expected a mapping at the top level, got 'hello' (start with 'deployments:')",
        ],
    ),
    "tab indentation": (
        "deployments:\n\t- name: etl\n",
        [
            "p.yaml:2:1: not valid YAML: a tab is used for indentation (indent with spaces)",
        ],
    ),
    "unclosed bracket": (
        "deployments: [1, 2\n",
        [
            "p.yaml:2:1: not valid YAML: a '[' is not closed (add the missing ',' or ']')",
        ],
    ),
    "unclosed brace": (
        "deployments: {a: b\n",
        [
            "p.yaml:2:1: not valid YAML: a '{' is not closed (add the missing ',' or '}')",
        ],
    ),
    "unclosed quote": (
        "name: 'x\n",
        [
            "p.yaml:2:1: not valid YAML: a quote is not closed (add the closing quote)",
        ],
    ),
    "colon in a value": (
        "name: a: b\n",
        [
            "p.yaml:1:8: not valid YAML: unexpected ':' (check the indentation, or quote)",
        ],
    ),
    "wrong indentation": (
        "deployments:\n  - name: a\n entrypoint: b\n",
        [
            "p.yaml:3:2: not valid YAML: expected a key (check the indentation of this line and the one above)",
        ],
    ),
    "character that starts no value": (
        "name: @x\n",
        [
            "p.yaml:1:7: not valid YAML: a plain value cannot start with '@' (quote the value)",
        ],
    ),
    "unknown escape": (
        'name: "\\q"\n',
        [
            "p.yaml:1:8: not valid YAML: unknown escape sequence (use single quotes, or double the '\\')",
        ],
    ),
    "not utf-8": (
        b"name: x\nb: caf\xe9\n",
        [
            "p.yaml:2:7: the file is not UTF-8 (byte 14 is 0xe9) (save it with the encoding UTF-8)",
        ],
    ),
    "utf-16": (
        b"\xff\xfen\x00a\x00m\x00e\x00:\x00 \x00x\x00\n\x00",
        [
            "p.yaml:1:1: the file is UTF-16 or UTF-32, not UTF-8 (save it with the encoding UTF-8)",
        ],
    ),
    "utf-32 without a mark": (
        "name: x".encode("utf-32-le"),
        [
            "p.yaml:1:1: the file is UTF-16 or UTF-32, not UTF-8 (save it with the encoding UTF-8)",
        ],
    ),
    "number that json cannot write": (
        "deployments:\n- name: a\n  entrypoint: f.py:g\n  parameters: {a: 0x" + "f" * 3000 + "}\n",
        [
            "p.yaml:4:19: deployments[0] 'a': parameters.a: the number is too large to be sent (write it as text)",
        ],
    ),
    "control character": (
        "name: 'a\x01b'\n",
        [
            "p.yaml:1:9: control character U+0001 is not allowed in YAML (remove it)",
        ],
    ),
    "duplicate key": (
        "name: a\nname: b\n",
        [
            "p.yaml:2:1: duplicate key 'name', first on line 1 (keep one of them)",
        ],
    ),
    "duplicate key in a deployment": (
        "deployments:\n- name: etl\n  entrypoint: f.py:g\n  paused: true\n  paused: false\n",
        [
            "p.yaml:5:3: duplicate key 'paused', first on line 4 (keep one of them)",
        ],
    ),
    "key that is a list": (
        "? [a, b]\n: 1\n",
        [
            "p.yaml:1:3: a key must be plain text, not a collection",
        ],
    ),
    "python tag": (
        "name: !!python/object/apply:os.system [ls]\n",
        [
            "p.yaml:1:7: tag '!!python/object/apply:os.system' is not supported (remove the tag)",
            "p.yaml:1:7: name: expected text, got a list",
        ],
    ),
    "own tag": (
        "name: !secret x\n",
        [
            "p.yaml:1:7: tag '!secret' is not supported (remove the tag)",
        ],
    ),
    "alias without anchor": (
        "name: *x\n",
        [
            "p.yaml:1:7: alias '*x' has no anchor '&x'",
        ],
    ),
    "alias inside its anchor": (
        "name: &x [*x]\n",
        [
            "p.yaml:1:11: alias '*x' stands inside its own anchor",
        ],
    ),
    "anchor twice": (
        "a: &x 1\nb: &x 2\n",
        [
            "p.yaml:2:4: anchor '&x' is used twice",
        ],
    ),
    "merge of text": (
        "a: &x y\nb:\n  <<: *x\n",
        [
            "p.yaml:1:4: '<<' merges mappings only (name an anchor of a mapping)",
        ],
    ),
    "two documents": (
        "name: a\n---\nname: b\n",
        [
            "p.yaml:2:1: a second document starts here (keep one document)",
        ],
    ),
    "date that is none": (
        "name: 2024-13-45\n",
        [
            "p.yaml:1:7: '2024-13-45' is not a valid timestamp (quote it)",
        ],
    ),
    "top level key that is a number": (
        "1: x\n",
        [
            "p.yaml:1:1: key 1 is not text (put it in quotes)",
        ],
    ),
    "deployments that are a mapping": (
        "deployments:\n  etl: {}\n",
        [
            "p.yaml:2:3: deployments: expected a list, got a mapping (start each item with '- ')",
        ],
    ),
    "deployments without a value": (
        "deployments:\n",
        [
            "p.yaml:1:13: deployments: expected a list, got nothing (remove the line, or write [])",
        ],
    ),
    "deployment that is text": (
        "deployments:\n- etl\n",
        [
            "p.yaml:2:3: deployments[0]: expected a mapping, got 'etl' (write 'key: value' lines below it)",
        ],
    ),
    "an empty name and no entrypoint": (
        "deployments:\n- name: ''\n",
        [
            "p.yaml:2:3: deployments[0]: 'name' is missing (every deployment needs a name)",
            "p.yaml:2:3: deployments[0]: 'entrypoint' is missing (write path/to/file.py:flow_function)",
        ],
    ),
    "misspelt key hides a required one": (
        "deployments:\n- name: etl\n  entrypiont: f.py:g\n",
        [
            "p.yaml:2:3: deployments[0] 'etl': 'entrypoint' is missing (write path/to/file.py:flow_function)",
            "p.yaml:3:3: warning: deployments[0] 'etl': Prefect ignores this key: 'entrypiont' (did you mean 'entrypoint'?)",
        ],
    ),
    "version that is a number": (
        "deployments:\n- name: etl\n  entrypoint: f.py:g\n  version: 1.0\n",
        [
            "p.yaml:4:12: deployments[0] 'etl': version: expected text, got the number 1.0 (put it in quotes)",
        ],
    ),
    "version that is a date": (
        "deployments:\n- name: etl\n  entrypoint: f.py:g\n  version: 2024-01-01\n",
        [
            "p.yaml:4:12: deployments[0] 'etl': version: expected text, got the date 2024-01-01 (put it in quotes)",
        ],
    ),
    "description that is a list": (
        "deployments:\n- name: etl\n  entrypoint: f.py:g\n  description: [a]\n",
        [
            "p.yaml:4:16: deployments[0] 'etl': description: expected text, got a list",
        ],
    ),
    "paused that is a word": (
        "deployments:\n- name: etl\n  entrypoint: f.py:g\n  paused: perhaps\n",
        [
            "p.yaml:4:11: deployments[0] 'etl': paused: expected true or false, got 'perhaps'",
        ],
    ),
    "null parameters": (
        "deployments:\n- name: etl\n  entrypoint: f.py:g\n  parameters:\n",
        [
            "p.yaml:4:14: deployments[0] 'etl': parameters: expected a mapping, got nothing (remove the line, or write {})",
        ],
    ),
    "list of parameters": (
        "deployments:\n- name: etl\n  entrypoint: f.py:g\n  parameters: [a]\n",
        [
            "p.yaml:4:15: deployments[0] 'etl': parameters: expected a mapping, got a list (write 'key: value' lines below it)",
        ],
    ),
    "parameter name that is a number": (
        "deployments:\n- name: etl\n  entrypoint: f.py:g\n  parameters: {1: a}\n",
        [
            "p.yaml:4:16: deployments[0] 'etl': parameters: key 1 is not text (put it in quotes)",
        ],
    ),
    "parameter that is infinite": (
        "deployments:\n- name: etl\n  entrypoint: f.py:g\n  parameters: {a: .inf}\n",
        [
            "p.yaml:4:19: deployments[0] 'etl': parameters.a: inf is not a number in JSON (use a finite number, or text)",
        ],
    ),
    "parameter that is binary": (
        "deployments:\n- name: etl\n  entrypoint: f.py:g\n  parameters: {a: !!binary aGk=}\n",
        [
            "p.yaml:4:19: deployments[0] 'etl': parameters.a: binary data has no place in JSON (write it as text)",
        ],
    ),
    "tags that are a mapping": (
        "deployments:\n- name: etl\n  entrypoint: f.py:g\n  tags: {a: b}\n",
        [
            "p.yaml:4:9: deployments[0] 'etl': tags: expected a list of tags, got a mapping (write [tag, other-tag])",
        ],
    ),
    "tag that is a mark": (
        "deployments:\n- name: etl\n  entrypoint: f.py:g\n  tags: [a, 'gitflow:x-1']\n",
        [
            "p.yaml:4:13: deployments[0] 'etl': tags[1]: tags that start with 'gitflow:' are marks of ownership (choose another tag)",
        ],
    ),
    "slash in a name": (
        "deployments:\n- name: a/b\n  entrypoint: f.py:g\n",
        [
            "p.yaml:2:9: deployments[0] 'a/b': name: 'a/b' holds '/'; a name has none of / % & > <",
        ],
    ),
    "entrypoint without a function": (
        "deployments:\n- name: a\n  entrypoint: f.py\n",
        [
            "p.yaml:3:15: deployments[0] 'a': entrypoint: 'f.py' names no flow function (write path/to/file.py:flow_function)",
        ],
    ),
    "entrypoint without .py": (
        "deployments:\n- name: a\n  entrypoint: flows/f:g\n",
        [
            "p.yaml:3:15: deployments[0] 'a': entrypoint: 'flows/f:g' names neither a .py file nor a module (write path/to/file.py:flow_function)",
        ],
    ),
    "same deployment twice": (
        "deployments:\n- name: etl\n  entrypoint: f.py:g\n- name: etl\n  entrypoint: f.py:g\n",
        [
            "p.yaml:4:9: deployments[1] 'etl': name: the same name and entrypoint as deployments[0] (rename or remove one of them)",
        ],
    ),
    "work pool that is text": (
        "deployments:\n- name: etl\n  entrypoint: f.py:g\n  work_pool: default\n",
        [
            "p.yaml:4:14: deployments[0] 'etl': work_pool: expected a mapping, got 'default' (write 'key: value' lines below it)",
        ],
    ),
    "null job variables": (
        "deployments:\n- name: etl\n  entrypoint: f.py:g\n  work_pool: {name: p, job_variables: null}\n",
        [
            "p.yaml:4:39: deployments[0] 'etl': work_pool.job_variables: expected a mapping, got nothing (remove the line, or write {})",
        ],
    ),
    "concurrency limit that is a word": (
        "deployments:\n- name: etl\n  entrypoint: f.py:g\n  concurrency_limit: many\n",
        [
            "p.yaml:4:22: deployments[0] 'etl': concurrency_limit: expected a whole number, got 'many'",
        ],
    ),
    "concurrency limit of zero": (
        "deployments:\n- name: etl\n  entrypoint: f.py:g\n  concurrency_limit: 0\n",
        [
            "p.yaml:4:22: deployments[0] 'etl': concurrency_limit: expected a number above 0, got 0",
        ],
    ),
    "negative limit in a mapping": (
        "deployments:\n- name: etl\n  entrypoint: f.py:g\n  concurrency_limit: {limit: -1}\n",
        [
            "p.yaml:4:30: deployments[0] 'etl': concurrency_limit.limit: expected a number above 0, got -1",
        ],
    ),
    "collision strategy in lower case": (
        "deployments:\n- name: etl\n  entrypoint: f.py:g\n  concurrency_limit: {limit: 1, collision_strategy: enqueue}\n",
        [
            "p.yaml:4:53: deployments[0] 'etl': concurrency_limit.collision_strategy: expected ENQUEUE or CANCEL_NEW, got 'enqueue' (did you mean 'ENQUEUE'?)",
        ],
    ),
    "grace period that is short": (
        "deployments:\n- name: etl\n  entrypoint: f.py:g\n  concurrency_limit: {limit: 1, grace_period_seconds: 5}\n",
        [
            "p.yaml:4:55: deployments[0] 'etl': concurrency_limit.grace_period_seconds: expected a number of at least 60, got 5",
        ],
    ),
    "schedules that are a mapping": (
        "deployments:\n- name: etl\n  entrypoint: f.py:g\n  schedules: {cron: '* * * * *'}\n",
        [
            "p.yaml:4:14: deployments[0] 'etl': schedules: expected a list, got a mapping (start each item with '- ')",
        ],
    ),
    "schedule of no kind": (
        "deployments:\n- name: etl\n  entrypoint: f.py:g\n  schedules:\n  - timezone: UTC\n",
        [
            "p.yaml:5:5: deployments[0] 'etl': schedules[0]: expected exactly one of cron, interval and rrule, got none of them",
        ],
    ),
    "schedule of two kinds": (
        "deployments:\n- name: etl\n  entrypoint: f.py:g\n  schedules:\n  - cron: '* * * * *'\n    interval: 60\n",
        [
            "p.yaml:5:5: deployments[0] 'etl': schedules[0]: expected exactly one of cron, interval and rrule, got cron and interval",
        ],
    ),
    "schedule and schedules": (
        "deployments:\n- name: etl\n  entrypoint: f.py:g\n  schedule: {interval: 60}\n  schedules: []\n",
        [
            "p.yaml:4:3: deployments[0] 'etl': 'schedule' and 'schedules' exclude each other (keep schedules:)",
        ],
    ),
    "nested schedule": (
        "deployments:\n- name: etl\n  entrypoint: f.py:g\n  schedules:\n  - schedule: {cron: '* * * * *'}\n",
        [
            "p.yaml:5:5: deployments[0] 'etl': schedules[0]: unknown key 'schedule' (move cron, interval or rrule up to the item itself)",
        ],
    ),
    "misspelt schedule key": (
        "deployments:\n- name: etl\n  entrypoint: f.py:g\n  schedules:\n  - cron: '* * * * *'\n    timezome: UTC\n",
        [
            "p.yaml:6:5: deployments[0] 'etl': schedules[0]: unknown key 'timezome' (did you mean 'timezone'?)",
        ],
    ),
    "key that prefect dropped": (
        "deployments:\n- name: etl\n  entrypoint: f.py:g\n  schedules:\n  - cron: '* * * * *'\n    catchup: false\n",
        [
            "p.yaml:6:5: deployments[0] 'etl': schedules[0]: unknown key 'catchup' (remove it; Prefect 3.1 dropped it)",
        ],
    ),
    "cron with three fields": (
        "deployments:\n- name: etl\n  entrypoint: f.py:g\n  schedules:\n  - cron: '* * *'\n",
        [
            "p.yaml:5:11: deployments[0] 'etl': schedules[0].cron: '* * *' has 3 fields, cron takes 5 or 6 (minute hour day-of-month month day-of-week)",
        ],
    ),
    "cron minute out of range": (
        "deployments:\n- name: etl\n  entrypoint: f.py:g\n  schedules:\n  - cron: '61 * * * *'\n",
        [
            "p.yaml:5:11: deployments[0] 'etl': schedules[0].cron: minute '61' is not valid (write 0 to 59; several as 1-5, 1,5 or */2)",
        ],
    ),
    "cron word": (
        "deployments:\n- name: etl\n  entrypoint: f.py:g\n  schedules:\n  - cron: '0 0 * * moon'\n",
        [
            "p.yaml:5:11: deployments[0] 'etl': schedules[0].cron: day of week 'moon' is not valid (write 0 to 7, or sun to sat; several as 1-5, 1,5 or */2)",
        ],
    ),
    "cron step of zero": (
        "deployments:\n- name: etl\n  entrypoint: f.py:g\n  schedules:\n  - cron: '*/0 * * * *'\n",
        [
            "p.yaml:5:11: deployments[0] 'etl': schedules[0].cron: minute '*/0' is not valid (write 0 to 59; several as 1-5, 1,5 or */2)",
        ],
    ),
    "misspelt cron alias": (
        "deployments:\n- name: etl\n  entrypoint: f.py:g\n  schedules:\n  - cron: '@dayly'\n",
        [
            "p.yaml:5:11: deployments[0] 'etl': schedules[0].cron: '@dayly' is not a cron alias (did you mean '@daily'?)",
        ],
    ),
    "unknown time zone": (
        "deployments:\n- name: etl\n  entrypoint: f.py:g\n  schedules:\n  - cron: '* * * * *'\n    timezone: Europe/Berln\n",
        [
            "p.yaml:6:15: deployments[0] 'etl': schedules[0].timezone: 'Europe/Berln' is not a time zone (did you mean 'Europe/Berlin'?)",
        ],
    ),
    "interval of zero": (
        "deployments:\n- name: etl\n  entrypoint: f.py:g\n  schedules:\n  - interval: 0\n",
        [
            "p.yaml:5:15: deployments[0] 'etl': schedules[0].interval: expected a duration above 0",
        ],
    ),
    "negative interval": (
        "deployments:\n- name: etl\n  entrypoint: f.py:g\n  schedules:\n  - interval: -5\n",
        [
            "p.yaml:5:15: deployments[0] 'etl': schedules[0].interval: expected a duration above 0",
        ],
    ),
    "interval that is a word": (
        "deployments:\n- name: etl\n  entrypoint: f.py:g\n  schedules:\n  - interval: daily\n",
        [
            "p.yaml:5:15: deployments[0] 'etl': schedules[0].interval: expected a duration in seconds, as HH:MM:SS, or ISO 8601, got 'daily'",
        ],
    ),
    "rrule without frequency": (
        "deployments:\n- name: etl\n  entrypoint: f.py:g\n  schedules:\n  - rrule: INTERVAL=2\n",
        [
            "p.yaml:5:12: deployments[0] 'etl': schedules[0].rrule: FREQ is missing (write for example FREQ=DAILY;INTERVAL=1)",
        ],
    ),
    "misspelt rrule frequency": (
        "deployments:\n- name: etl\n  entrypoint: f.py:g\n  schedules:\n  - rrule: FREQ=DAYLY\n",
        [
            "p.yaml:5:12: deployments[0] 'etl': schedules[0].rrule: FREQ 'DAYLY' is not valid (did you mean 'DAILY'?)",
        ],
    ),
    "misspelt rrule key": (
        "deployments:\n- name: etl\n  entrypoint: f.py:g\n  schedules:\n  - rrule: FREQ=DAILY;INTERVALL=2\n",
        [
            "p.yaml:5:12: deployments[0] 'etl': schedules[0].rrule: 'INTERVALL' is not a key of a rule (did you mean 'INTERVAL'?)",
        ],
    ),
    "rrule with a day that is none": (
        "deployments:\n- name: etl\n  entrypoint: f.py:g\n  schedules:\n  - rrule: FREQ=WEEKLY;BYDAY=XX\n",
        [
            "p.yaml:5:12: deployments[0] 'etl': schedules[0].rrule: BYDAY 'XX' is not valid (write some of MO TU WE TH FR SA SU)",
        ],
    ),
    "rrule with an end that is none": (
        "deployments:\n- name: etl\n  entrypoint: f.py:g\n  schedules:\n  - rrule: FREQ=DAILY;UNTIL=20301301\n",
        [
            "p.yaml:5:12: deployments[0] 'etl': schedules[0].rrule: UNTIL '20301301' is not valid (write for example 20300131T090000)",
        ],
    ),
    "cron of a day that never comes": (
        "deployments:\n- name: etl\n  entrypoint: f.py:g\n  schedules:\n  - cron: 0 0 30 2 *\n",
        [
            "p.yaml:5:11: deployments[0] 'etl': schedules[0].cron: '0 0 30 2 *' never comes: no such month has that day (the last day of a month is written L)",
        ],
    ),
    "anchor date that is none": (
        "deployments:\n- name: etl\n  entrypoint: f.py:g\n  schedules:\n  - interval: 60\n    anchor_date: soon\n",
        [
            "p.yaml:6:18: deployments[0] 'etl': schedules[0].anchor_date: 'soon' is not a date and time (write it as '2024-01-31T09:00:00Z')",
        ],
    ),
    "active that is a word": (
        "deployments:\n- name: etl\n  entrypoint: f.py:g\n  schedules:\n  - cron: '* * * * *'\n    active: perhaps\n",
        [
            "p.yaml:6:13: deployments[0] 'etl': schedules[0].active: expected true or false, got 'perhaps'",
        ],
    ),
    "slug twice": (
        "deployments:\n- name: etl\n  entrypoint: f.py:g\n  schedules:\n  - {cron: '* * * * *', slug: a}\n  - {interval: 60, slug: a}\n",
        [
            "p.yaml:6:26: deployments[0] 'etl': schedules[1].slug: slug 'a' is used twice in this deployment (every schedule has a slug of its own)",
        ],
    ),
    "version type": (
        "deployments:\n- name: etl\n  entrypoint: f.py:g\n  version_type: vcs:gihub\n",
        [
            "p.yaml:4:17: deployments[0] 'etl': version_type: 'vcs:gihub' is not one of prefect:simple, vcs:github, vcs:gitlab, vcs:bitbucket, vcs:azuredevops, vcs:git (did you mean 'vcs:github'?)",
        ],
    ),
    "schedule replaced twice": (
        "deployments:\n- name: etl\n  entrypoint: f.py:g\n  schedules:\n  - {interval: 60, slug: a, replaces: c}\n  - {interval: 60, slug: b, replaces: c}\n",
        [
            "p.yaml:6:39: deployments[0] 'etl': schedules[1].replaces: slug 'c' is replaced twice (only one schedule can take its place)",
        ],
    ),
    "trigger that expects text": (
        "deployments:\n- name: etl\n  entrypoint: f.py:g\n  triggers:\n  - expect: prefect.flow-run.Completed\n",
        [
            "p.yaml:5:13: deployments[0] 'etl': triggers[0].expect: expected a list, got 'prefect.flow-run.Completed' (write [prefect.flow-run.Completed])",
        ],
    ),
    "trigger of an unknown type": (
        "deployments:\n- name: etl\n  entrypoint: f.py:g\n  triggers:\n  - {type: sequnce, triggers: []}\n",
        [
            "p.yaml:5:12: deployments[0] 'etl': triggers[0].type: expected event, metric, compound, sequence, got 'sequnce' (did you mean 'sequence'?)",
        ],
    ),
    "trigger with a misspelt posture": (
        "deployments:\n- name: etl\n  entrypoint: f.py:g\n  triggers:\n  - posture: proactive\n    within: 5\n",
        [
            "p.yaml:5:14: deployments[0] 'etl': triggers[0].posture: expected Reactive or Proactive, got 'proactive' (did you mean 'Proactive'?)",
        ],
    ),
    "trigger that waits too shortly": (
        "deployments:\n- name: etl\n  entrypoint: f.py:g\n  triggers:\n  - posture: Proactive\n    within: 5\n",
        [
            "p.yaml:5:5: deployments[0] 'etl': triggers[0]: 'within' of a Proactive trigger must be at least 10 seconds",
        ],
    ),
    "trigger inside another": (
        "deployments:\n- name: etl\n  entrypoint: f.py:g\n  triggers:\n  - require: 3\n    triggers:\n    - {threshold: x}\n    - {match: {prefect.resource.id: 5}}\n",
        [
            "p.yaml:5:5: deployments[0] 'etl': triggers[0]: 'require' is 3; there are 2 triggers to require",
            "p.yaml:7:19: deployments[0] 'etl': triggers[0].triggers[0].threshold: expected a whole number, got 'x'",
            "p.yaml:8:15: deployments[0] 'etl': triggers[0].triggers[1].match: label 'prefect.resource.id': expected text or a list of text, got the number 5 (put it in quotes)",
        ],
    ),
    "trigger on half a metric": (
        "deployments:\n- name: etl\n  entrypoint: f.py:g\n  triggers:\n  - posture: Metric\n    metric: {name: latenes, threshold: 1, range: 60}\n",
        [
            "p.yaml:6:13: deployments[0] 'etl': triggers[0].metric: 'operator' is missing",
            "p.yaml:6:20: deployments[0] 'etl': triggers[0].metric.name: expected lateness or duration or successes, got 'latenes' (did you mean 'lateness'?)",
            "p.yaml:6:50: deployments[0] 'etl': triggers[0].metric.range: expected a duration of at least 300 seconds",
        ],
    ),
    "sla": (
        "deployments:\n- name: etl\n  entrypoint: f.py:g\n  sla:\n  - name: x\n",
        [
            "p.yaml:5:3: deployments[0] 'etl': sla: an SLA works on Prefect Cloud only (remove it)",
        ],
    ),
    "step with its inputs beside it": (
        "pull:\n- prefect.deployments.steps.git_clone:\n  repository: x\n",
        [
            "p.yaml:2:3: pull[0]: a step is one key, this has 2 (indent the inputs of the step under its name)",
        ],
    ),
    "step that is text": (
        "pull:\n- prefect.deployments.steps.git_clone\n",
        [
            "p.yaml:2:3: pull[0]: expected a mapping, got 'prefect.deployments.steps.git_clone' (write 'key: value' lines below it)",
        ],
    ),
    "step inputs that are text": (
        "pull:\n- a.b: text\n",
        [
            "p.yaml:2:8: pull[0].a.b: inputs of 'a.b' must be a mapping (write 'key: value' lines below it)",
        ],
    ),
    "gitflow that is text": (
        "gitflow: yes please\n",
        [
            "p.yaml:1:10: gitflow: expected a mapping, got 'yes please' (write 'key: value' lines below it)",
        ],
    ),
    "misspelt gitflow key": (
        "gitflow: {code_stor: {}}\n",
        [
            "p.yaml:1:11: gitflow: unknown key 'code_stor' (did you mean 'code_store'?)",
        ],
    ),
    "misspelt code store key": (
        "gitflow: {code_store: {brnch: x}}\n",
        [
            "p.yaml:1:24: gitflow.code_store: unknown key 'brnch' (did you mean 'branch'?)",
        ],
    ),
    "password in the remote": (
        "gitflow: {code_store: {remote: 'https://me:hunter2@example.com/a.git'}}\n",
        [
            "p.yaml:1:32: gitflow.code_store.remote: the address holds a user name or password (put it under credentials)",
        ],
    ),
    "token in the pull url": (
        "gitflow: {code_store: {pull_url: 'https://ghp_hunter2@example.com/a.git'}}\n",
        [
            "p.yaml:1:34: gitflow.code_store.pull_url: the address holds a user name or password (put it under credentials)",
        ],
    ),
    "literal credentials": (
        "gitflow: {code_store: {credentials: hunter2}}\n",
        [
            "p.yaml:1:37: gitflow.code_store.credentials: expected a placeholder; a literal secret would be readable by everybody (write '{{ prefect.blocks.secret.NAME }}')",
        ],
    ),
    "literal credentials in a mapping": (
        "gitflow: {code_store: {credentials: {token: hunter2}}}\n",
        [
            "p.yaml:1:37: gitflow.code_store.credentials: expected a placeholder; a literal secret would be readable by everybody (write '{{ prefect.blocks.secret.NAME }}')",
        ],
    ),
    "option as a remote": (
        "gitflow: {code_store: {remote: --upload-pack=x}}\n",
        [
            "p.yaml:1:32: gitflow.code_store.remote: '--upload-pack=x' is not a repository address",
        ],
    ),
    "command as a pull url": (
        "gitflow: {code_store: {pull_url: 'ext::sh -c x'}}\n",
        [
            "p.yaml:1:34: gitflow.code_store.pull_url: 'ext::sh -c x' is not a repository address (use a URL, user@host:path, or an absolute path)",
        ],
    ),
    "token in the second pull url": (
        "gitflow: {code_store: {pull_url: [https://a.invalid/x, 'https://ghp_hunter2@b.invalid/x']}}\n",
        [
            "p.yaml:1:56: gitflow.code_store.pull_url[1]: the address holds a user name or password (put it under credentials)",
        ],
    ),
    "no pull url in the list": (
        "gitflow: {code_store: {pull_url: []}}\n",
        [
            "p.yaml:1:34: gitflow.code_store.pull_url: expected an address (leave the key out to use the remote's)",
        ],
    ),
    "branch that is none": (
        "gitflow: {code_store: {branch: 'a..b'}}\n",
        [
            "p.yaml:1:32: gitflow.code_store.branch: 'a..b' is not a valid branch name (see git help check-ref-format)",
        ],
    ),
    "field that cannot be left to the server": (
        "gitflow: {ignore: [schedule.active, tags]}\n",
        [
            "p.yaml:1:20: gitflow.ignore[0]: expected paused or schedules.active, got 'schedule.active' (did you mean 'schedules.active'?)",
            "p.yaml:1:37: gitflow.ignore[1]: expected paused or schedules.active, got 'tags'",
        ],
    ),
    "unknown checkout": (
        "gitflow: {checkout: pined}\n",
        [
            "p.yaml:1:21: gitflow.checkout: expected pinned or stock, got 'pined' (did you mean 'pinned'?)",
        ],
    ),
    "size that is a word": (
        "gitflow: {max_file_size: big}\n",
        [
            "p.yaml:1:26: gitflow.max_file_size: expected a size above 0 (write bytes, or for example 50MB)",
        ],
    ),
    "size of zero": (
        "gitflow: {max_total_size: 0}\n",
        [
            "p.yaml:1:27: gitflow.max_total_size: expected a size above 0 (write bytes, or for example 50MB)",
        ],
    ),
    "submodules": (
        "gitflow: {submodules: true}\n",
        [
            "p.yaml:1:23: gitflow.submodules: expected refuse or include or ignore, got true",
        ],
    ),
    "several at once": (
        "deployments:\n- name: a/b\n  entrypoint: f.py:g\n  paused: 7\n- entrypoint: f.py:g\n  schedules:\n  - cron: nope\n",
        [
            "p.yaml:2:9: deployments[0] 'a/b': name: 'a/b' holds '/'; a name has none of / % & > <",
            "p.yaml:4:11: deployments[0] 'a/b': paused: expected true or false, got the number 7",
            "p.yaml:5:3: deployments[1]: 'name' is missing (every deployment needs a name)",
            "p.yaml:7:11: deployments[1]: schedules[0].cron: 'nope' has 1 field, cron takes 5 or 6 (minute hour day-of-month month day-of-week)",
        ],
    ),
    "secret is not echoed": (
        "deployments:\n- name: etl\n  entrypoint: f.py:g\n  work_pool: {name: p, job_variables: {}}\n  token: 5\n  parameters: https://me:hunter2@example.com\n",
        [
            "p.yaml:5:3: warning: deployments[0] 'etl': Prefect ignores this key: 'token'",
            "p.yaml:6:15: deployments[0] 'etl': parameters: expected a mapping, got 'https://****@example.com' (write 'key: value' lines below it)",
        ],
    ),
}


@pytest.mark.parametrize("case", BROKEN)
def test_broken_manifest_is_refused_with_every_problem_at_its_place(case: str) -> None:
    text, expected = BROKEN[case]
    with pytest.raises(ManifestError) as caught:
        manifest.parse(text if isinstance(text, bytes) else text.encode(), "p.yaml")
    assert list(caught.value.lines) == expected


def test_summary_counts_errors_and_not_warnings() -> None:
    text = b"deployments:\n- name: etl\n  entrypiont: f.py:g\n  paused: 7\n"
    with pytest.raises(ManifestError) as caught:
        manifest.parse(text, "a/prefect.yaml")
    assert caught.value.message == "2 problems in a/prefect.yaml; nothing was changed"
    assert len(caught.value.lines) == 3


def test_file_that_is_not_there_is_one_problem(tmp_path: Path) -> None:
    with pytest.raises(ManifestError) as caught:
        manifest.load(tmp_path / "prefect.yaml", "prefect.yaml")
    assert caught.value.lines == ("prefect.yaml cannot be read: no such file or directory",)


def test_directory_is_one_problem(tmp_path: Path) -> None:
    with pytest.raises(ManifestError) as caught:
        manifest.load(tmp_path, "prefect.yaml")
    assert caught.value.lines == ("prefect.yaml cannot be read: is a directory",)


def test_secrets_are_not_in_any_problem() -> None:
    text = b"""
gitflow:
  code_store:
    remote: https://me:hunter2@example.com/a.git
    credentials: hunter2
deployments:
- name: https://me:hunter2@example.com
  entrypoint: https://me:hunter2@example.com
  work_pool: {name: p, job_variables: {password: {1: hunter2}}}
  version: {token: hunter2}
"""
    with pytest.raises(ManifestError) as caught:
        manifest.parse(text, "p.yaml")
    assert "hunter2" not in str(caught.value)
    assert len(caught.value.lines) >= 5
