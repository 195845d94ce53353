"""Real git repositories, tersely, and the proof that one was left alone."""

from __future__ import annotations

import hashlib
import os
import stat
import subprocess
from pathlib import Path


class Repo:
    """A repository at ``path``, made with ``git init`` unless it exists.

    ``Repo(tmp_path / "r").write("flow.py", "...").commit("first")``
    """

    def __init__(self, path: Path, *, bare: bool = False, init: bool = True) -> None:
        self.path = path
        if init and not (path / ".git").exists() and not (path / "HEAD").exists():
            path.mkdir(parents=True, exist_ok=True)
            self.git("init", "-q", *(["--bare"] if bare else []))

    def git(self, *args: str | bytes | Path, stdin: bytes | None = None, check: bool = True) -> str:
        """Run git here; its standard output, stripped at the end."""
        done = subprocess.run(
            ["git", *args], cwd=self.path, input=stdin, capture_output=True, check=False
        )
        if check and done.returncode:
            shown = b" ".join(os.fsencode(a) for a in args).decode("utf-8", "replace")
            raise AssertionError(f"git {shown}: {done.stderr.decode('utf-8', 'replace')}")
        return done.stdout.decode("utf-8", "surrogateescape").rstrip("\n")

    def write(
        self, name: str | bytes, content: str | bytes = "", *, executable: bool = False
    ) -> Repo:
        """Write a file, making its directories."""
        path = self.path / os.fsdecode(name)
        path.parent.mkdir(parents=True, exist_ok=True)
        path.write_bytes(content.encode() if isinstance(content, str) else content)
        if executable:
            path.chmod(0o755)
        return self

    def remove(self, name: str | bytes) -> Repo:
        """Delete a file of the working tree."""
        (self.path / os.fsdecode(name)).unlink()
        return self

    def symlink(self, name: str, target: str) -> Repo:
        """Make a symbolic link."""
        (self.path / name).parent.mkdir(parents=True, exist_ok=True)
        (self.path / name).symlink_to(target)
        return self

    def commit(self, message: str = "commit", *, add: bool = True) -> str:
        """Commit all of the working tree (or, without ``add``, the index); the commit's id."""
        if add:
            self.git("add", "-A")
        self.git("commit", "-q", "--allow-empty", "-m", message)
        return self.head

    def clone(self, path: Path, *args: str) -> Repo:
        """Clone this repository with ``git clone ARGS``, through its file:// address."""
        path.parent.mkdir(parents=True, exist_ok=True)
        self.git("clone", "-q", *args, self.path.resolve().as_uri(), path)
        return Repo(path, init=False)

    @property
    def head(self) -> str:
        """The commit that HEAD names."""
        return self.git("rev-parse", "HEAD")

    def show(self, name: str, commit: str = "HEAD") -> str:
        """A file's content in a commit."""
        return self.git("show", f"{commit}:{name}")

    def files(self, commit: str = "HEAD") -> list[str]:
        """Every path in a commit, sorted as git does."""
        listing = self.git("ls-tree", "-r", "-z", "--name-only", commit)
        return [name for name in listing.split("\0") if name]


def fingerprint(path: Path) -> dict[str, tuple[int, int, int, str]]:
    """Every file below ``path``'s ``.git`` (or ``path``, if bare): what must not change.

    Maps relative path to (mode, size, mtime in ns, sha256 of the content or of a
    link's target). Directories are in it with a size and hash of nothing: a
    file that came and went shows in their mtime.
    """
    root = path / ".git"
    if root.is_file():  # a linked worktree or a submodule
        pointed = Path(root.read_text().removeprefix("gitdir:").strip())
        root = (path / pointed).resolve()
    elif not root.exists():
        root = path
    found: dict[str, tuple[int, int, int, str]] = {}
    for directory, subdirectories, files in os.walk(root):
        for name in [".", *files, *(d for d in subdirectories if Path(directory, d).is_symlink())]:
            entry = Path(directory, name)
            info = entry.lstat()
            if stat.S_ISLNK(info.st_mode):
                content = os.fsencode(os.readlink(entry))
            else:
                content = entry.read_bytes() if stat.S_ISREG(info.st_mode) else b""
            digest = hashlib.sha256(content).hexdigest()
            size = 0 if name == "." else info.st_size
            key = os.path.relpath(entry, root)
            found[key] = (info.st_mode, size, info.st_mtime_ns, digest)
    return found
