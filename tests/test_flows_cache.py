"""Results kept by the content of the files they were read from."""

from __future__ import annotations

import hashlib
import multiprocessing
import subprocess
import sys
from pathlib import Path

import pytest

from gitops_flow import flows
from gitops_flow.errors import FlowError
from gitops_flow.model import FlowInfo

FLOW = "from prefect import flow\nfrom models import LIMIT\n@flow\ndef f(a: int = LIMIT): ...\n"


class Files:
    """A repository that counts what is read of it."""

    def __init__(self, **files: str) -> None:
        self.files = {f"{name.replace('__', '/')}.py": text for name, text in files.items()}
        self.reads = 0

    def read(self, path: str) -> bytes | None:
        self.reads += 1
        text = self.files.get(path)
        return None if text is None else text.encode()

    def blob_id(self, path: str) -> str | None:
        text = self.files.get(path)
        return None if text is None else hashlib.sha1(text.encode()).hexdigest()

    def info(self, cache: flows.Cache, name: str | None = None) -> FlowInfo:
        return flows.read_cached(cache, self.read, self.blob_id, "f.py:f", flow_name=name)


def default(info: FlowInfo) -> object:
    return info.parameter_schema["properties"]["a"].get("default")


def test_second_reading_opens_no_source(tmp_path: Path) -> None:
    files = Files(f=FLOW, models="LIMIT = 3")
    first = files.info(flows.Cache(tmp_path))
    files.reads = 0
    assert files.info(flows.Cache(tmp_path)) == first
    assert files.reads == 0


def test_hit_is_the_whole_answer(tmp_path: Path) -> None:
    source = (
        "from prefect import flow\n@flow(name='n', version='1')\ndef f(a: x, b=[1]):\n    '''D.'''"
    )
    files = Files(f=source)
    first = files.info(flows.Cache(tmp_path))
    assert first.notes
    assert files.info(flows.Cache(tmp_path)) == first == flows.read(files.read, "f.py:f")


def test_change_in_an_imported_file_counts(tmp_path: Path) -> None:
    files = Files(f=FLOW, models="LIMIT = 3")
    assert default(files.info(flows.Cache(tmp_path))) == 3
    files.files["models.py"] = "LIMIT = 4"
    assert default(files.info(flows.Cache(tmp_path))) == 4


def test_file_that_appears_where_one_was_looked_for_counts(tmp_path: Path) -> None:
    files = Files(f=FLOW)
    assert default(files.info(flows.Cache(tmp_path))) is None
    files.files["models/__init__.py"] = "LIMIT = 5"
    assert default(files.info(flows.Cache(tmp_path))) == 5


def test_file_that_does_not_matter_does_not_count(tmp_path: Path) -> None:
    files = Files(f=FLOW, models="LIMIT = 3")
    files.info(flows.Cache(tmp_path))
    files.files["unrelated.py"] = "x"
    files.reads = 0
    files.info(flows.Cache(tmp_path))
    assert files.reads == 0


def test_going_back_to_former_code_is_a_hit(tmp_path: Path) -> None:
    files = Files(f=FLOW, models="LIMIT = 3")
    files.info(flows.Cache(tmp_path))
    files.files["models.py"] = "LIMIT = 4"
    files.info(flows.Cache(tmp_path))
    files.files["models.py"] = "LIMIT = 3"
    files.reads = 0
    assert default(files.info(flows.Cache(tmp_path))) == 3
    assert files.reads == 0


def test_flow_name_is_part_of_the_question(tmp_path: Path) -> None:
    files = Files(f="import os\nfrom prefect import flow\n@flow(name=os.name)\ndef f(): ...")
    cache = flows.Cache(tmp_path)
    assert files.info(cache, "one").name == "one"
    assert files.info(cache, "two").name == "two"
    with pytest.raises(FlowError):
        files.info(cache)


def test_error_is_not_remembered(tmp_path: Path) -> None:
    files = Files(f="def f(")
    with pytest.raises(FlowError):
        files.info(flows.Cache(tmp_path))
    files.files["f.py"] = "from prefect import flow\n@flow\ndef f(): ..."
    assert files.info(flows.Cache(tmp_path)).name == "f"


@pytest.mark.parametrize(
    "damage",
    [b"", b"\x00\xff", b"[]", b"{", b"[" * 100_000, b'{"x": 1}', None],
    ids=["empty", "bytes", "list", "half", "deep", "other", "entries"],
)
def test_damaged_entry_is_read_again_and_mended(damage: bytes | None, tmp_path: Path) -> None:
    files = Files(f=FLOW, models="LIMIT = 3")
    first = files.info(flows.Cache(tmp_path))
    [stored] = tmp_path.glob("*/*.json")
    good = stored.read_bytes()
    stored.write_bytes(good.replace(b'"name":"f"', b'"name":7') if damage is None else damage)
    assert files.info(flows.Cache(tmp_path)) == first
    files.reads = 0
    assert files.info(flows.Cache(tmp_path)) == first
    assert files.reads == 0


def test_cache_that_cannot_be_written_is_no_error(tmp_path: Path) -> None:
    (tmp_path / "file").write_text("")
    files = Files(f=FLOW, models="LIMIT = 3")
    assert default(files.info(flows.Cache(tmp_path / "file" / "cache"))) == 3


def _fill(arguments: tuple[Path, int]) -> None:
    directory, number = arguments
    cache = flows.Cache(directory)
    source = b"from prefect import flow\n@flow\ndef f(a: int = 1): ..."
    for at in range(20):
        name = f"n{number}-{at}"
        flows.read_cached(cache, {"f.py": source}.get, {"f.py": "1"}.get, "f.py:f", flow_name=name)


def test_several_processes_lose_nothing_of_each_other(tmp_path: Path) -> None:
    with multiprocessing.get_context("spawn").Pool(2) as pool:
        pool.map(_fill, [(tmp_path, 1), (tmp_path, 2)])
    cache = flows.Cache(tmp_path)
    known = [
        cache.get("f.py:f", f"n{number}-{at}", {"f.py": "1"}.get)
        for number in (1, 2)
        for at in range(20)
    ]
    assert None not in known
    assert not list(tmp_path.glob("*/.*"))


def test_hit_loads_neither_pydantic_nor_a_parser(tmp_path: Path) -> None:
    code = (
        "import sys\nfrom pathlib import Path\nfrom gitops_flow import flows\n"
        "source = b'from prefect import flow\\n@flow\\ndef f(): ...'\n"
        f"cache = flows.Cache(Path({str(tmp_path)!r}))\n"
        "flows.read_cached(cache, {'f.py': source}.get, {'f.py': '1'}.get, 'f.py:f')\n"
        "print('pydantic' in sys.modules, 'gitops_flow.flows.evaluator' in sys.modules)\n"
    )
    runs = [
        subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True)
        for _ in range(2)
    ]
    assert [each.stdout for each in runs] == ["True True\n", "False False\n"]
