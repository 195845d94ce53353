"""YAML to values that know where they were written, in bounded time and memory.

Bytes become text that YAML allows; events of the parser become nodes here, so that
nothing recurses into a hostile file, an alias is shared instead of copied, and every
value and key keeps its line and column. What the parser objects to is said in plain words.
"""

from __future__ import annotations

import codecs
from dataclasses import dataclass, field
from typing import TYPE_CHECKING, Any

import yaml

from gitops_flow.manifest.wording import quoted, shortened
from gitops_flow.model import Position, Problem

if TYPE_CHECKING:
    from collections.abc import Hashable, Sequence

MAX_BYTES = 5_000_000

_WIDE_MARKS = (codecs.BOM_UTF16_LE, codecs.BOM_UTF16_BE, codecs.BOM_UTF32_BE)

_UNPRINTABLE = yaml.reader.Reader.NON_PRINTABLE
# What libyaml says, in the words of somebody who has just mistyped something.
_PLAIN_WORDS = (
    ("tab character", "a tab is used for indentation", "indent with spaces"),
    ("mapping values are not allowed", "unexpected ':'", "check the indentation, or quote"),
    ("did not find expected ',' or '}'", "a '{' is not closed", "add the missing ',' or '}'"),
    ("did not find expected ',' or ']'", "a '[' is not closed", "add the missing ',' or ']'"),
    ("expected node content", "a value is missing", "a '[' or '{' may not be closed"),
    ("unexpected end of stream", "a quote is not closed", "add the closing quote"),
    (
        "expected '-' indicator",
        "expected a list item",
        "start it with '- ', or check the indentation",
    ),
    ("expected key", "expected a key", "check the indentation of this line and the one above"),
    ("cannot start any token", "a tab is used for indentation", "indent with spaces"),
    (
        "unknown escape character",
        "unknown escape sequence",
        "use single quotes, or double the '\\'",
    ),
)


class Fatal(Exception):  # noqa: N818 - carries one problem, and never leaves this package
    """Nothing after this problem can be read; ``before`` are those that were found until then."""

    def __init__(self, problem: Problem, before: Sequence[Problem] = ()) -> None:
        super().__init__(str(problem))
        self.problems = [*before, problem]


def decode(data: bytes, shown: str) -> str:
    """The text of a manifest.

    Raises:
        Fatal: when it is too large, not UTF-8, or holds what YAML does not allow.
    """
    if len(data) > MAX_BYTES:
        message = f"the file has {len(data):,} bytes; the limit is {MAX_BYTES:,}"
        raise Fatal(Problem(message, Position(shown, 1, 1)))
    if data.startswith(_WIDE_MARKS) or 0 in data[:4]:
        message = "the file is UTF-16 or UTF-32, not UTF-8"
        raise Fatal(Problem(message, Position(shown, 1, 1), "save it with the encoding UTF-8"))
    try:
        text = data.decode("utf-8-sig")
    except UnicodeDecodeError as error:
        before = data[: error.start]
        line = before.count(b"\n") + 1
        column = len(before.rpartition(b"\n")[2].decode("utf-8", "replace")) + 1
        message = f"the file is not UTF-8 (byte {error.start} is 0x{data[error.start]:02x})"
        raise Fatal(
            Problem(message, Position(shown, line, column), "save it with the encoding UTF-8")
        ) from None
    if bad := _UNPRINTABLE.search(text):
        before_text = text[: bad.start()]
        line, column = before_text.count("\n") + 1, len(before_text.rpartition("\n")[2]) + 1
        message = f"control character U+{ord(bad.group()):04X} is not allowed in YAML"
        raise Fatal(Problem(message, Position(shown, line, column), "remove it"))
    return text


def in_plain_words(error: yaml.MarkedYAMLError, character: str) -> tuple[str, str | None]:
    """What the parser objects to, and a hint; ``character`` is where it stopped."""
    said = str(error.problem or error.context or "not valid YAML")
    if "cannot start any token" in said and character != "\t":
        return f"not valid YAML: a plain value cannot start with {character!r}", "quote the value"
    for fragment, message, hint in _PLAIN_WORDS:
        if fragment in said:
            return f"not valid YAML: {message}", hint
    return f"not valid YAML: {said}", None


MAX_NODES = 100_000
MAX_DEPTH = 100
MAX_PROBLEMS = 1_000
# Characters of a number or a date: reading one takes time that grows with their square,
# and Python writes no number of more than 4,300 digits.
MAX_NUMBER = 3_500

_TAG = "tag:yaml.org,2002:"
_PARSER: Any = getattr(yaml, "CSafeLoader", yaml.SafeLoader)
_SCALARS: Any = yaml.SafeLoader("")


@dataclass(slots=True, eq=False)
class Node:
    """A value, where it starts (from 1), and the nodes it is made of.

    ``entries`` maps each key to its own place and the value's node. ``size``
    and ``height`` count what the value would be with all aliases written out.
    """

    value: Any
    line: int
    column: int
    entries: dict[Hashable, tuple[int, int, Node]] = field(default_factory=dict)
    items: list[Node] = field(default_factory=list)
    size: int = 1
    height: int = 1


def read(data: bytes, shown: str) -> tuple[Node | None, list[Problem]]:
    """Parse one YAML document as ``yaml.safe_load`` would.

    Returns:
        The root node (None for an empty document) and the problems that did
        not stop the reading: duplicate keys, tags and values without meaning.

    Raises:
        Fatal: with the problem that did stop it.
    """
    text = decode(data, shown)
    builder = _Builder(shown)
    try:
        for event in yaml.parse(text, Loader=_PARSER):
            builder.feed(event)
    except yaml.MarkedYAMLError as error:
        mark = error.problem_mark or error.context_mark
        line, column = (mark.line + 1, mark.column + 1) if mark else (1, 1)
        message, hint = in_plain_words(error, text[mark.index : mark.index + 1] if mark else "")
        problem = Problem(message, Position(shown, line, column), hint)
        raise Fatal(problem, builder.problems) from None
    return builder.root, builder.problems


def at(root: Node | None, path: Sequence[Hashable]) -> tuple[Node | None, int]:
    """The deepest node that exists along ``path``, and how many steps led there."""
    node, steps = root, 0
    for part in path:
        child = _child(node, part) if node is not None else None
        if child is None:
            break
        node, steps = child, steps + 1
    return node, steps


def key_place(root: Node | None, path: Sequence[Hashable]) -> tuple[int, int] | None:
    """Line and column of the key that ends ``path``, if it is there."""
    parent, steps = at(root, path[:-1])
    if parent is None or steps != len(path) - 1 or path[-1] not in parent.entries:
        return None
    line, column, _ = parent.entries[path[-1]]
    return line, column


def _child(node: Node, part: Hashable) -> Node | None:
    if node.entries and part in node.entries:
        return node.entries[part][2]
    if node.items and isinstance(part, int) and 0 <= part < len(node.items):
        return node.items[part]
    return None


@dataclass(slots=True, eq=False)
class _Frame:
    event: Any
    children: list[Node]


class _Builder:
    """Events in, nodes out."""

    def __init__(self, shown: str) -> None:
        self.root: Node | None = None
        self.problems: list[Problem] = []
        self._shown = shown
        self._stack: list[_Frame] = []
        self._anchors: dict[str, Node | None] = {}
        self._documents = 0
        self._nodes = 0
        self._work = 0

    def feed(self, event: Any) -> None:
        if isinstance(event, yaml.DocumentStartEvent):
            self._documents += 1
            if self._documents > 1:
                raise self._fatal(event, "a second document starts here", "keep one document")
        elif isinstance(event, yaml.NodeEvent):
            self._nodes += 1
            if self._nodes > MAX_NODES:
                message = f"more than {MAX_NODES:,} keys and values"
                raise self._fatal(event, message, "use several manifests")
            self._node(event)
        elif isinstance(event, yaml.CollectionEndEvent):
            frame = self._stack.pop()
            is_list = isinstance(frame.event, yaml.SequenceStartEvent)
            node = self._sequence(frame) if is_list else self._mapping(frame)
            self._add(node, None)
            if frame.event.anchor:
                self._anchors[frame.event.anchor] = node

    def _node(self, event: Any) -> None:
        if isinstance(event, yaml.ScalarEvent):
            self._add(self._scalar(event), event.anchor)
        elif isinstance(event, yaml.AliasEvent):
            self._add(self._alias(event), None)
        else:
            if len(self._stack) >= MAX_DEPTH:
                raise self._fatal(event, f"nested more than {MAX_DEPTH} levels deep")
            if event.anchor:
                self._claim(event)
                self._anchors[event.anchor] = None
            self._stack.append(_Frame(event, []))

    def _add(self, node: Node, anchor: str | None) -> None:
        if anchor:
            self._anchors[anchor] = node
        if self._stack:
            self._stack[-1].children.append(node)
        else:
            self.root = node

    def _alias(self, event: Any) -> Node:
        if event.anchor not in self._anchors:
            name = shortened(event.anchor)
            raise self._fatal(event, f"alias '*{name}' has no anchor '&{name}'")
        node = self._anchors[event.anchor]
        if node is None:
            raise self._fatal(
                event, f"alias '*{shortened(event.anchor)}' stands inside its own anchor"
            )
        return node

    def _claim(self, event: Any) -> None:
        if event.anchor in self._anchors:
            raise self._fatal(event, f"anchor '&{shortened(event.anchor)}' is used twice")

    def _scalar(self, event: Any) -> Node:
        if event.anchor:
            self._claim(event)
        tag = event.tag
        if tag is None or tag == "!":
            tag = _SCALARS.resolve(yaml.ScalarNode, event.value, event.implicit)
        value: Any = event.value
        construct = _CONSTRUCT.get(tag)
        if construct is not None:
            try:
                if tag in _NUMBERS and len(event.value) > MAX_NUMBER:
                    raise ValueError("too long")
                value = construct(yaml.ScalarNode(tag, event.value))
            except _NOT_CONSTRUCTED:
                message = f"{quoted(event.value)} is not a valid {tag.removeprefix(_TAG)}"
                hint = "quote it" if event.tag in (None, "!") else "remove the tag"
                self._report(event, message, hint)
        elif tag not in _TEXT_TAGS:
            self._unknown_tag(event, tag)
        return Node(value, event.start_mark.line + 1, event.start_mark.column + 1)

    def _sequence(self, frame: _Frame) -> Node:
        if frame.event.tag not in (None, "!", f"{_TAG}seq"):
            self._unknown_tag(frame.event, frame.event.tag)
        node = self._collection(frame)
        node.items = frame.children
        node.value = [child.value for child in frame.children]
        return self._measured(node, frame, frame.children)

    def _mapping(self, frame: _Frame) -> Node:
        if frame.event.tag not in (None, "!", f"{_TAG}map"):
            self._unknown_tag(frame.event, frame.event.tag)
        node = self._collection(frame)
        own: dict[Hashable, tuple[int, int, Node]] = {}
        for key, value in zip(frame.children[::2], frame.children[1::2], strict=True):
            if key.value is _MERGE:
                self._merge(frame, value, node.entries)
            elif key.items or key.entries or isinstance(key.value, list | dict):
                self._report_at(key.line, key.column, "a key must be plain text, not a collection")
            elif key.value in own:
                first = own[key.value][0]
                message = f"duplicate key {quoted(str(key.value))}, first on line {first}"
                self._report_at(key.line, key.column, message, "keep one of them")
            else:
                own[key.value] = (key.line, key.column, value)
        node.entries.update(own)
        node.value = {key: entry[2].value for key, entry in node.entries.items()}
        return self._measured(node, frame, [entry[2] for entry in node.entries.values()])

    def _merge(
        self, frame: _Frame, source: Node, into: dict[Hashable, tuple[int, int, Node]]
    ) -> None:
        parts = source.items if isinstance(source.value, list) else [source]
        # The first of several sources wins, so it is written last.
        for part in reversed(parts):
            if not isinstance(part.value, dict):
                message = "'<<' merges mappings only"
                self._report_at(part.line, part.column, message, "name an anchor of a mapping")
                continue
            self._work += len(part.entries)
            if self._work > MAX_NODES:
                raise self._too_large(frame.event)
            into.update(part.entries)

    def _collection(self, frame: _Frame) -> Node:
        mark = frame.event.start_mark
        return Node(None, mark.line + 1, mark.column + 1)

    def _measured(self, node: Node, frame: _Frame, children: list[Node]) -> Node:
        node.size = 1 + sum(child.size for child in children)
        node.height = 1 + max((child.height for child in children), default=0)
        if node.size > MAX_NODES:
            raise self._too_large(frame.event)
        if node.height > MAX_DEPTH:
            raise self._fatal(frame.event, f"nested more than {MAX_DEPTH} levels deep")
        return node

    def _too_large(self, event: Any) -> Fatal:
        message = f"more than {MAX_NODES:,} values with all aliases written out"
        return self._fatal(event, message, "use fewer aliases")

    def _unknown_tag(self, event: Any, tag: str) -> None:
        shown = f"!!{tag.removeprefix(_TAG)}" if tag.startswith(_TAG) else tag
        self._report(event, f"tag {quoted(shown)} is not supported", "remove the tag")

    def _report(self, event: Any, message: str, hint: str | None = None) -> None:
        self._report_at(event.start_mark.line + 1, event.start_mark.column + 1, message, hint)

    def _report_at(self, line: int, column: int, message: str, hint: str | None = None) -> None:
        self.problems.append(Problem(message, Position(self._shown, line, column), hint))
        if len(self.problems) == MAX_PROBLEMS:
            told = Problem("more problems than can be listed", Position(self._shown, line, column))
            raise Fatal(told, self.problems)

    def _fatal(self, event: Any, message: str, hint: str | None = None) -> Fatal:
        mark = event.start_mark
        where = Position(self._shown, mark.line + 1, mark.column + 1)
        return Fatal(Problem(message, where, hint), self.problems)


class _Merge(str):
    """The value of a plain ``<<``: a merge where it is a key, text elsewhere."""

    __slots__ = ()


_MERGE = _Merge("<<")
_TEXT_TAGS = (f"{_TAG}str", f"{_TAG}value")
_NUMBERS = (f"{_TAG}int", f"{_TAG}float", f"{_TAG}timestamp")
_CONSTRUCT: dict[str, Any] = {
    f"{_TAG}null": _SCALARS.construct_yaml_null,
    f"{_TAG}bool": _SCALARS.construct_yaml_bool,
    f"{_TAG}int": _SCALARS.construct_yaml_int,
    f"{_TAG}float": _SCALARS.construct_yaml_float,
    f"{_TAG}timestamp": _SCALARS.construct_yaml_timestamp,
    f"{_TAG}binary": _SCALARS.construct_yaml_binary,
    f"{_TAG}merge": lambda _node: _MERGE,
}
# What the constructors raise for a text that is not one of theirs; most expect the
# resolver to have looked at it, which an explicit tag passes by.
_NOT_CONSTRUCTED = (ValueError, LookupError, AttributeError, ArithmeticError, yaml.YAMLError)
