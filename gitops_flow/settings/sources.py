"""Where Prefect users keep their settings, in Prefect's order of precedence."""

from __future__ import annotations

import re
import tomllib
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING

from gitops_flow.errors import UsageError
from gitops_flow.settings import dotenv

if TYPE_CHECKING:
    from collections.abc import Mapping

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
    """A setting as it was found, and where."""

    value: Json
    where: str


class Sources:
    """Everything that can set a Prefect setting, read once.

    Args:
        environ: the environment; its Prefect variables count in any case.
        cwd: the directory whose ``.env``, ``prefect.toml`` and ``pyproject.toml`` count.
        profile: the profile to use instead of the active one; it must exist.
    """

    def __init__(self, environ: Mapping[str, str], cwd: Path, profile: str | None) -> None:
        self._cwd = cwd
        self._environ = {key.upper(): value for key, value in environ.items()}
        self._dotenv_path = cwd / ".env"
        self._dotenv = dotenv.read(self._dotenv_path, environ)
        self._toml = {
            cwd / "prefect.toml": _toml(cwd / "prefect.toml"),
            cwd / "pyproject.toml": _tool(_toml(cwd / "pyproject.toml")),
        }
        self.profiles_path = self._find_profiles()
        self.profile_name, self._profile = self._find_profile(profile)

    def get(self, *names: str, path: tuple[str, ...]) -> Value | None:
        """The value with the highest precedence.

        Args:
            names: environment variables, the preferred one first.
            path: the keys in prefect.toml.
        """
        for name in names:
            if name in self._environ:
                return Value(self._environ[name], name)
        for name in names:
            if name in self._dotenv:
                return Value(self._dotenv[name], f"{self._dotenv_path}: {name}")
        for file, data in self._toml.items():
            value: Json = data
            for key in path:
                value = value.get(key) if isinstance(value, dict) else None
            if value is not None:
                return Value(value, f"{file}: {'.'.join(path)}")
        for name in names:
            if (value := self._profile.get(name)) is not None:
                return Value(value, f"{self.profiles_path}: {self.profile_name}: {name}")
        return None

    def _find_profiles(self) -> Path | None:
        """The profiles file; None stands for the profiles that come with Prefect."""
        named = self._environ.get("PREFECT_PROFILES_PATH") or self._dotenv.get(
            "PREFECT_PROFILES_PATH"
        )
        for data in self._toml.values():
            named = named or data.get("profiles_path")
        if named:
            return self._cwd / str(named)
        if home := self._environ.get("PREFECT_HOME"):
            return self._cwd / home / "profiles.toml"
        default = user_home(self._environ) / ".prefect" / "profiles.toml"
        return default if default.exists() else None

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
                raise UsageError(f"there is no Prefect profile {asked!r}", hint=f"known: {known}")
            return asked, chosen
        name = str(self._environ.get("PREFECT_PROFILE") or data.get("active") or "")
        chosen = profiles.get(name)
        return name, chosen if isinstance(chosen, dict) else {}


def user_home(environ: Mapping[str, str]) -> Path:
    """The user's home directory."""
    return Path(environ["HOME"]) if environ.get("HOME") else Path.home()


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
