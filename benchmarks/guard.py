"""How much the guard finds, how often it is wrong, and how fast it is.

    python benchmarks/guard.py [DIRECTORY...]

What is found is counted over the shapes and names of ``tests/support/secrets.py``.
What is wrongly found is counted over the text files below the directories (this
Python's packages and the system's, unless others are named), 10,000 at most.
"""

from __future__ import annotations

import sys
import sysconfig
import time
from pathlib import Path

sys.path.insert(0, str(Path(__file__).parents[1]))

from gitops_flow.codestore import detect
from tests.support import secrets

_LARGEST = 5_000_000
_MANY = 10_000


def ordinary(roots: list[str]) -> list[Path]:
    """Text files below ``roots``, an even choice of them."""
    found = [
        path
        for root in roots
        for path in Path(root).rglob("*")
        if path.suffix not in (".pyc", ".so")
        and not path.is_symlink()
        and path.is_file()
        and path.stat().st_size < _LARGEST
    ]
    found.sort()
    step = max(len(found) / _MANY, 1)
    return [found[int(n * step)] for n in range(min(len(found), _MANY))]


def main() -> None:
    shapes = secrets.shapes()
    missed = [label for label, data in shapes.items() if not detect.secret_in(data)]
    unnamed = [name for name in secrets.NAMES if not detect.secret_name(name)]
    examples = {n: t for n, t in secrets.EXAMPLES.items() if detect.secret_in(t.encode())}
    usual = [name for name in secrets.ORDINARY_NAMES if detect.secret_name(name)]
    print(f"shapes found: {len(shapes) - len(missed)} of {len(shapes)}", *missed, sep="\n  ")
    print(f"names found: {len(secrets.NAMES) - len(unnamed)} of {len(secrets.NAMES)}", *unnamed)
    print(f"examples found: {len(examples)} of {len(secrets.EXAMPLES)}", *examples, sep="\n  ")
    print(f"ordinary names found: {len(usual)} of {len(secrets.ORDINARY_NAMES)}", *usual)

    files = ordinary(
        sys.argv[1:] or [sysconfig.get_path("purelib"), "/usr/lib/python3", "/usr/share"]
    )
    wrong, total, used, slowest = [], 0, 0.0, (0.0, Path())
    for path in files:
        data = path.read_bytes()
        start = time.process_time()
        found = detect.secret_in(data)
        took = time.process_time() - start
        used, total, slowest = used + took, total + len(data), max(slowest, (took, path))
        if found or detect.secret_name(str(path)):
            wrong.append(f"{path}: {found or 'by its name'}")
    print(f"ordinary files found: {len(wrong)} of {len(files)}", *wrong, sep="\n  ")
    if not files:
        return
    print(f"speed: {total / 1e6:.0f} MB in {used:.1f} s, {total / used / 1e6:.0f} MB/s")
    print(f"slowest file: {slowest[0]:.2f} s, {slowest[1]}")


if __name__ == "__main__":
    main()
