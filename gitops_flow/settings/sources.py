"""Where Prefect users keep their settings, in Prefect's order of precedence."""

from __future__ import annotations

import io
import re
import tomllib
from dataclasses import dataclass
from typing import TYPE_CHECKING

from gitops_flow import files
from gitops_flow.errors import UsageError

if TYPE_CHECKING:
    from collections.abc import Mapping
    from pathlib import Path

    from dotenv.variables import Atom

    from gitops_flow.model import Json

# What Prefect has before the user writes any profile.
_BUNDLED: dict[str, Json] = {
    "active": "ephemeral",
    "profiles": {
        "ephemeral": {},
        "local": {"PREFECT_API_URL": "http://127.0.0.1:4200/api"},
        "test": {},
        "cloud": {},
    },
}
_AT_LINE = re.compile(r"\s*\(at line (\d+), column (\d+)\)$")


@dataclass(frozen=True, slots=True)
class Value:
    """A setting as it was found, and where.

    ``origins`` are the files of the working tree that say it, and None for what the
    user's own environment or profile says. A profiles file counts as one of the working
    tree when such a file names it. ``written`` is the value without what variables of the
    environment filled in, which may be shown.
    """

    value: Json
    where: str
    origins: frozenset[Path | None] = frozenset({None})
    written: Json = None


@dataclass(frozen=True, slots=True)
class _Variable:
    """A variable of a ``.env`` file.

    ``value`` has ``${OTHER}`` filled in, ``written`` only with what the file itself says.
    ``uses_environment`` says that a part of the value comes from the environment.
    """

    value: str
    written: str
    uses_environment: bool


@dataclass(frozen=True, slots=True)
class NamedServer:
    """The server that an environment of the manifest names, before all other settings.

    ``profile`` or ``api_url`` is None, or both. ``file`` is the manifest, ``where`` the place in
    it; ``environment`` is the name.
    """

    environment: str
    profile: str | None
    api_url: str | None
    file: Path
    where: str


# Where the server is, and what goes to it: of a profile that is named for a server, only its own
# count, since what else there is may be meant for another one.
_OF_SERVER = (
    "PREFECT_API_URL",
    "PREFECT_API_KEY",
    "PREFECT_API_AUTH_STRING",
    "PREFECT_API_TLS_INSECURE_SKIP_VERIFY",
    "PREFECT_API_SSL_CERT_FILE",
    "PREFECT_CLIENT_CUSTOM_HEADERS",
)


class Sources:
    """Everything that can set a Prefect setting, read once.

    Args:
        environ: the environment; its Prefect variables count in any case.
        cwd: what relative paths in the environment are relative to.
        directory: the manifest's directory; its ``.env``, ``prefect.toml`` and
            ``pyproject.toml`` count or, where they say nothing of Prefect, those of the
            nearest directory above that do, up to the repository's root.
        profile: the profile to use instead of the active one; it must exist.
        named: the server that the manifest names.
    """

    def __init__(
        self,
        environ: Mapping[str, str],
        cwd: Path,
        directory: Path,
        profile: str | None,
        named: NamedServer | None = None,
    ) -> None:
        self._cwd = cwd
        self.named = named
        self._environ = {key.upper(): value for key, value in environ.items()}
        self.root = project_root(directory)
        self.directory, self._dotenv, self._toml = self._find_files(environ, directory)
        self.profiles_path, self._profiles_origin = self._find_profiles()
        asked = profile or (named.profile if named else None)
        self.profile_name, self._profile = self._find_profile(asked)

    def get(self, *names: str, path: tuple[str, ...]) -> Value | None:
        """The value with the highest precedence.

        Args:
            names: environment variables, the preferred one first.
            path: the keys in prefect.toml.
        """
        named = self.named
        if named and named.profile and not set(names).isdisjoint(_OF_SERVER):
            return self._of_profile(names)
        found = self._found(names, path)
        if named and named.api_url and "PREFECT_API_URL" in names:
            if found and found.origins == {None} and _same(found.value, named.api_url):
                return found  # the user says so, too
            return Value(named.api_url, named.where, frozenset({named.file}), named.api_url)
        return found

    def _found(self, names: tuple[str, ...], path: tuple[str, ...]) -> Value | None:
        for name in names:
            if name in self._environ:
                return Value(self._environ[name], name, written=self._environ[name])
        dotenv_path = self.directory / ".env"
        for name in names:
            if (variable := self._dotenv.get(name)) is not None:
                own: set[Path | None] = {None} if variable.uses_environment else set()
                origins = frozenset({dotenv_path, *own})
                return Value(variable.value, f"{dotenv_path}: {name}", origins, variable.written)
        for file, data in self._toml.items():
            value: Json = data
            for key in path:
                value = value.get(key) if isinstance(value, dict) else None
            if value is not None:
                return Value(value, f"{file}: {'.'.join(path)}", frozenset({file}), value)
        return self._of_profile(names)

    def _of_profile(self, names: tuple[str, ...]) -> Value | None:
        for name in names:
            if (value := self._profile.get(name)) is not None:
                where = f"{self.profiles_path}: {self.profile_name}: {name}"
                return Value(value, where, frozenset({self._profiles_origin}), value)
        return None

    def _find_files(
        self, environ: Mapping[str, str], directory: Path
    ) -> tuple[Path, dict[str, _Variable], dict[Path, dict[str, Json]]]:
        """The directory whose files count, its ``.env`` and what its TOML files say of Prefect."""
        places = [directory]
        if directory.resolve().is_relative_to(self.root):
            places += [p for p in directory.resolve().parents if p.is_relative_to(self.root)]
        empty: dict[Path, dict[str, Json]] = {}
        for place in places:
            variables = _env_file(place / ".env", environ)
            toml = {
                place / "prefect.toml": _toml(place / "prefect.toml"),
                place / "pyproject.toml": _tool(_toml(place / "pyproject.toml")),
            }
            if any(toml.values()) or any(name.startswith("PREFECT_") for name in variables):
                return place, variables, toml
        return directory, {}, empty

    def _find_profiles(self) -> tuple[Path | None, Path | None]:
        """The profiles file, and once more where a file of the working tree names it.

        Without a file the profiles are those that come with Prefect.
        """
        if named := self._environ.get("PREFECT_PROFILES_PATH"):
            return self._cwd / named, None
        variable = self._dotenv.get("PREFECT_PROFILES_PATH")
        said = variable.value if variable else ""
        for data in self._toml.values():
            said = said or str(data.get("profiles_path") or "")
        if said:
            path = self.directory / said
            return path, path
        if home := self._environ.get("PREFECT_HOME"):
            return self._cwd / home / "profiles.toml", None
        user = files.home(self._environ)
        default = user and user / ".prefect" / "profiles.toml"
        return default if default and default.exists() else None, None

    def _find_profile(self, asked: str | None) -> tuple[str, Mapping[str, Json]]:
        data = _BUNDLED
        if self.profiles_path is not None:
            # A file that is not there yet leaves nothing but Prefect's default.
            data = _toml(self.profiles_path)
        profiles = data.get("profiles")
        profiles = profiles if isinstance(profiles, dict) else {}
        if asked is not None:
            chosen = profiles.get(asked, _BUNDLED["profiles"].get(asked))
            if not isinstance(chosen, dict):
                known = ", ".join(sorted({*profiles, *_BUNDLED["profiles"]}))
                raise UsageError(
                    f"there is no Prefect profile {asked!r}",
                    where=self.named.where if self.named else None,
                    hint=f"known: {known}",
                )
            return asked, chosen
        name = str(self._environ.get("PREFECT_PROFILE") or data.get("active") or "")
        chosen = profiles.get(name)
        return name, chosen if isinstance(chosen, dict) else {}


def _same(address: Json, other: str) -> bool:
    return str(address).strip().rstrip("/") == other


def project_root(directory: Path) -> Path:
    """The top of the working tree that holds ``directory``; itself where there is none."""
    top = directory.resolve()
    return next((p for p in (top, *top.parents) if (p / ".git").exists()), top)


def _env_file(path: Path, environ: Mapping[str, str]) -> dict[str, _Variable]:
    """The variables in ``path``, keys in upper case; empty if there is no such file.

    A line that cannot be read is skipped, as Prefect does, unless it is about
    Prefect: then it is a :class:`UsageError` that names the line.
    """
    try:
        text = path.read_text(encoding="utf-8-sig", errors="surrogateescape")
    except (FileNotFoundError, NotADirectoryError, IsADirectoryError):
        return {}
    except OSError as error:
        raise UsageError(f"cannot be read: {error.strerror}", where=str(path)) from error
    # Most projects have no such file.
    from dotenv.parser import parse_stream
    from dotenv.variables import parse_variables

    variables: dict[str, _Variable | None] = {}
    for binding in parse_stream(io.StringIO(text)):
        line = binding.original.string.lstrip()
        if binding.error and "PREFECT_" in line.upper() and not line.startswith("#"):
            blank = binding.original.string.count("\n") - line.count("\n")
            raise UsageError(
                "this line is not KEY=value",
                where=f"{path}:{binding.original.line + blank}",
                hint="look for a quote that is not closed",
            )
        if binding.key is None:
            continue
        if binding.value is None:
            variables[binding.key] = None
            continue
        parts = [_part(atom, environ, variables) for atom in parse_variables(binding.value)]
        variables[binding.key] = _Variable(
            "".join(part.value for part in parts),
            "".join(part.written for part in parts),
            any(part.uses_environment for part in parts),
        )
    return {key.upper(): variable for key, variable in variables.items() if variable is not None}


def _part(
    atom: Atom, environ: Mapping[str, str], earlier: Mapping[str, _Variable | None]
) -> _Variable:
    """A literal text in a value, or a ``${NAME}`` or ``${NAME:-default}``."""
    name = getattr(atom, "name", None)
    if name is not None and name in earlier:
        return earlier[name] or _Variable("", "", False)
    if name is not None and name in environ:
        return _Variable(environ[name], f"${{{name}}}", True)
    text = atom.resolve({})
    return _Variable(text, text, False)


def _tool(pyproject: dict[str, Json]) -> dict[str, Json]:
    tool = pyproject.get("tool")
    section = tool.get("prefect") if isinstance(tool, dict) else None
    return section if isinstance(section, dict) else {}


def _toml(path: Path) -> dict[str, Json]:
    try:
        return tomllib.loads(path.read_bytes().decode())
    except (FileNotFoundError, NotADirectoryError, IsADirectoryError):
        return {}
    except OSError as error:
        raise UsageError(f"cannot be read: {error.strerror}", where=str(path)) from error
    except UnicodeDecodeError as error:
        raise UsageError("is not UTF-8 text", where=str(path)) from error
    except tomllib.TOMLDecodeError as error:
        message = str(error)
        place = _AT_LINE.search(message)
        where = f"{path}:{place[1]}:{place[2]}" if place else str(path)
        raise UsageError(f"not valid TOML: {_AT_LINE.sub('', message)}", where=where) from error
