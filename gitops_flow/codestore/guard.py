"""What should not leave the machine by accident: secrets and huge files.

Only work in progress is looked at (untracked or modified files): what is
committed has been somebody's decision already.
"""

from __future__ import annotations

import codecs
import fnmatch
import re
from dataclasses import dataclass

from gitops_flow.errors import SnapshotError

MEGABYTE = 1_000_000
DEFAULT_FILE_LIMIT = 50 * MEGABYTE
DEFAULT_TOTAL_LIMIT = 500 * MEGABYTE
_SHOWN = 20


@dataclass(frozen=True, slots=True)
class Allowance:
    """What the user lets through.

    ``secrets`` holds globs of paths that may look like secrets. Sizes are in bytes.
    """

    secrets: tuple[str, ...] = ()
    file_limit: int = DEFAULT_FILE_LIMIT
    total_limit: int = DEFAULT_TOTAL_LIMIT

    def allows(self, path: str) -> bool:
        """Whether ``path`` matches a glob of ``secrets``, as a whole or by its last part."""
        name = path.rsplit("/", 1)[-1]
        return any(
            fnmatch.fnmatchcase(path, glob) or fnmatch.fnmatchcase(name, glob)
            for glob in self.secrets
        )


# File names that by convention hold secrets.
_NAME = re.compile(
    r"""(?ix) (^|/) (
        \.env (\.(?!example$|sample$|template$|dist$|defaults?$)[^/]+)?
      | [^/]+\.env
      | id_(rsa|dsa|ecdsa|ed25519)(_sk)?
      | [^/]+\.(p12|pfx|jks|keystore|kdbx|ppk|pkcs12)
      | \.(netrc|pgpass|git-credentials|htpasswd|vault_pass|vault-token|my\.cnf|s3cfg|boto)
      | \.aws/credentials | \.docker/config\.json | \.kube/config | \.config/gcloud/.+
      | (service[-_]?account|client_secrets?|gcp[-_]?key|credentials)[^/]*\.json
      | credentials(\.(ya?ml|toml|ini|cfg|txt))?
      | secrets?\.(ya?ml|toml|json|ini|env|txt)
      | terraform\.tfstate(\.backup)?
    ) $"""
)

# Token shapes their issuers document, with a prefix or frame that nothing else has.
_CONTENT: tuple[tuple[str, bytes, re.Pattern[bytes]], ...] = tuple(
    (label, literal, re.compile(pattern))
    for label, literal, pattern in (
        (
            "a private key",
            b"PRIVATE KEY",
            rb"-----BEGIN (?:RSA |DSA |EC |OPENSSH |ENCRYPTED |PGP )?PRIVATE KEY(?: BLOCK)?-----(?:\s|\\+[rn])*[A-Za-z0-9+/=\s:,-]{40}",
        ),
        ("an age secret key", b"AGE-SECRET-KEY-1", rb"AGE-SECRET-KEY-1[0-9A-Z]{58}"),
        (
            "an AWS access key",
            b"A",
            rb"(?<![A-Z0-9])(?:AKIA|ASIA|ABIA|ACCA)[A-Z2-7]{16}(?![A-Z0-9])",
        ),
        *(
            (
                "an AWS secret key",
                name,
                name + rb"['\"]?\s*[=:]\s*['\"]?[A-Za-z0-9/+]{40}(?![A-Za-z0-9/+=])",
            )
            for name in (b"aws_secret_access_key", b"AWS_SECRET_ACCESS_KEY")
        ),
        ("a GitHub token", b"gh", rb"(?<![A-Za-z0-9])gh[pousr]_[A-Za-z0-9]{36,255}"),
        ("a GitHub token", b"github_pat_", rb"(?<![A-Za-z0-9])github_pat_[A-Za-z0-9_]{60,255}"),
        (
            "a GitLab token",
            b"gl",
            rb"(?<![A-Za-z0-9])gl(?:pat|dt|rt|cbt|ptt|oas)-[A-Za-z0-9_-]{20,}",
        ),
        ("a Slack token", b"xox", rb"(?<![A-Za-z0-9])xox[abeoprs]-[A-Za-z0-9-]{20,}"),
        (
            "a Slack webhook",
            b"hooks.slack.com",
            rb"https://hooks\.slack\.com/(?:services|workflows)/T[A-Za-z0-9_/]{30,}",
        ),
        ("a Stripe key", b"k_live_", rb"(?<![A-Za-z0-9])[rs]k_live_[A-Za-z0-9]{20,}"),
        ("a Google API key", b"AIza", rb"(?<![A-Za-z0-9_-])AIza[A-Za-z0-9_-]{35}(?![A-Za-z0-9_-])"),
        ("a Google OAuth secret", b"GOCSPX-", rb"(?<![A-Za-z0-9])GOCSPX-[A-Za-z0-9_-]{28}"),
        ("a PyPI token", b"pypi-AgEIcHlwaS5vcmc", rb"pypi-AgEIcHlwaS5vcmc[A-Za-z0-9_-]{50,}"),
        ("an npm token", b"npm_", rb"(?<![A-Za-z0-9])npm_[A-Za-z0-9]{36}(?![A-Za-z0-9])"),
        ("an Anthropic key", b"sk-ant-", rb"(?<![A-Za-z0-9])sk-ant-[A-Za-z0-9_-]{40,}"),
        ("an OpenAI key", b"sk-", rb"(?<![A-Za-z0-9])sk-(?:proj|svcacct|admin)-[A-Za-z0-9_-]{40,}"),
        ("a Hugging Face token", b"hf_", rb"(?<![A-Za-z0-9])hf_[A-Za-z]{34}(?![A-Za-z0-9])"),
        ("a SendGrid key", b"SG.", rb"(?<![A-Za-z0-9])SG\.[A-Za-z0-9_-]{22}\.[A-Za-z0-9_-]{43}"),
        ("a Prefect API key", b"pn", rb"(?<![A-Za-z0-9])pn[ub]_[A-Za-z0-9]{36}(?![A-Za-z0-9])"),
        ("a DigitalOcean token", b"_v1_", rb"(?<![A-Za-z0-9])do[opr]_v1_[a-f0-9]{64}"),
        ("a HashiCorp Vault token", b"hv", rb"(?<![A-Za-z0-9])hv[sb]\.[A-Za-z0-9_-]{24,}"),
        ("a Databricks token", b"dapi", rb"(?<![A-Za-z0-9])dapi[a-f0-9]{32}(?![a-f0-9])"),
        ("an Azure storage key", b"AccountKey=", rb"AccountKey=[A-Za-z0-9+/]{86}=="),
        (
            "a signed JSON web token",
            b"eyJ",
            rb"(?<![A-Za-z0-9_-])eyJ[A-Za-z0-9_-]{15,}\.eyJ[A-Za-z0-9_-]{15,}\.[A-Za-z0-9_-]{20,}",
        ),
        (
            "a password in a URL",
            b"://",
            rb"(?:postgres(?:ql)?|mysql|mongodb|redis|amqp|https?)(?:\+[a-z0-9]+)?://[A-Za-z0-9._%-]+:(?!\$|\{|<|%\(|\*)[^@\s/'\"{}<>$]{6,}@(?!localhost|127\.|example\.)",
        ),
    )
)


def secret_name(path: str) -> bool:
    """Whether the file's name alone says that it holds a secret."""
    return bool(_NAME.search(path))


def secret_in(data: bytes) -> str | None:
    """What kind of secret ``data`` seems to hold ("a GitHub token"), or None."""
    if data.startswith((codecs.BOM_UTF16_LE, codecs.BOM_UTF16_BE)):
        data = data.replace(b"\0", b"")
    for label, literal, pattern in _CONTENT:
        # A plain search first: it is a hundred times faster, and nearly always enough.
        if literal in data and pattern.search(data):
            return label
    return None


def check_sizes(sizes: dict[str, int], allow: Allowance) -> None:
    """Refuse files over the limits.

    Args:
        sizes: bytes by path, of every untracked or modified file.
        allow: the limits.

    Raises:
        SnapshotError: with every file over the limit, or the largest ones.
    """
    large = {path: size for path, size in sizes.items() if size > allow.file_limit}
    if large:
        raise SnapshotError(
            f"{_count(len(large), 'file')} over the limit of {_megabytes(allow.file_limit)} each",
            paths=_listed([f"{p} ({_megabytes(s)})" for p, s in _largest(large)]),
            hint=(
                "list them in .gitflowignore to leave them out, or raise the limit with "
                "--max-file-size (gitflow: {max_file_size: ...} in the manifest)"
            ),
        )
    total = sum(sizes.values())
    if total > allow.total_limit:
        raise SnapshotError(
            f"uncommitted files of {_megabytes(total)} in all, over the limit of "
            f"{_megabytes(allow.total_limit)}",
            paths=_listed([f"{p} ({_megabytes(s)})" for p, s in _largest(sizes)]),
            hint=(
                "list what workers do not need in .gitflowignore, or raise the limit with "
                "--max-total-size (gitflow: {max_total_size: ...} in the manifest)"
            ),
        )


def refuse_secrets(found: dict[str, str]) -> None:
    """Raise if ``found`` (path to reason) names any file.

    Raises:
        SnapshotError: with every such file and how to let it through.
    """
    if found:
        raise SnapshotError(
            f"{_count(len(found), 'uncommitted file')} that {_verb(len(found))} like secrets",
            paths=_listed([f"{path} ({why})" for path, why in sorted(found.items())]),
            hint=(
                "list them in .gitflowignore or .gitignore to leave them out; if one is no "
                "secret, allow it with --allow-secret PATH (gitflow: {allow_secrets: [...]})"
            ),
        )


def _verb(count: int) -> str:
    return "looks" if count == 1 else "look"


def _count(count: int, noun: str) -> str:
    return f"{count} {noun}" if count == 1 else f"{count} {noun}s"


def _largest(sizes: dict[str, int]) -> list[tuple[str, int]]:
    return sorted(sizes.items(), key=lambda item: (-item[1], item[0]))


def _megabytes(size: int) -> str:
    return f"{size / MEGABYTE:.3g} MB" if size >= 100_000 else f"{size} bytes"


def _listed(lines: list[str]) -> tuple[str, ...]:
    more = len(lines) - _SHOWN
    return tuple(lines) if more <= 0 else (*lines[:_SHOWN], f"and {more} more")
