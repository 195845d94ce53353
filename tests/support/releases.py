"""A repository whose releases are made without a Prefect server."""

from __future__ import annotations

from pathlib import Path

from gitops_flow.codestore import address, history, ledger, publish, snapshot
from gitops_flow.codestore import sign as signing
from gitops_flow.codestore.store import open_store
from gitops_flow.git import repository
from gitops_flow.git.objects import Objects
from gitops_flow.model import CodeStoreSettings, Source
from tests.support.repo import Repo

MANIFEST = """\
name: shop
deployments:
  - {name: main, entrypoint: "flow.py:hello", work_pool: {name: p}}
"""


class Shop:
    """A repository whose releases are made without a Prefect server."""

    def __init__(self, base: Path) -> None:
        self.base = base
        self.server = Repo(base / "origin.git", bare=True)
        self.server.git("config", "receive.fsckObjects", "true")
        self.server.git("config", "uploadpack.allowFilter", "true")
        self.repo = Repo(base / "shop").write("prefect.yaml", MANIFEST).write("flow.py", "0\n")
        self.repo.commit()
        self.repo.git("remote", "add", "origin", str(self.server.path))
        self.attach()

    def attach(self) -> None:
        """Find out about the repository."""
        self.found = repository.discover(self.repo.path)
        self.target = address.resolve(self.found, CodeStoreSettings(), self.base / "data")
        self.source = Source("shop", address.identities(self.found)[0], "prefect.yaml")

    def backdate(self, seconds: int) -> None:
        """Make every release that there is older."""
        chain = self.chain()
        objects = Objects(chain.path)
        tip = ledger.write_root(objects)
        for each in reversed(chain.entries):
            ident = f"{each.origin.author} {each.when - seconds} +0000"
            tip = objects.write_commit(each.tree, (tip, each.snapshot), each.message, ident)
        Repo(chain.path, init=False).git("push", "-qf", self.server.path, f"{tip}:code-store")

    def release(
        self,
        content: str,
        *,
        names: tuple[str, ...] = ("hello/main",),
        when: int = 1_700_000_000,
        mark: str | None = None,
        rollback: str | None = None,
        sign: bool = False,
        since: float = 0.0,
        newest: bool = False,
        name: str = "flow.py",
    ) -> publish.Publication:
        self.repo.write(name, content)
        self.found = repository.discover(self.repo.path)
        store = open_store(self.base / "cache", self.found, self.target.url)
        snap = snapshot.take(
            self.found,
            store,
            snapshot.Options(),
            source="shop",
            author="Ann <ann@x>",
        )
        mark = self.source.mark if mark is None else mark
        signature = signing.sign(store, snap) if sign else None
        made = ledger.Release(snap, names, when, mark, None, rollback, signature)
        return publish.publish(
            store, self.target, made, since=since, again=rollback is not None, newest=newest
        )

    def chain(self, cache: str = "cache") -> history.Chain:
        return history.read(self.base / cache, self.found, self.target)
