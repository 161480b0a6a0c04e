"""Tokens that other tools hold."""

import json
import os
from pathlib import Path

import pytest

from copilot_asgi.credentials.import_tokens import Findings, FoundToken, find_tokens
from copilot_asgi.secret import Secret


def put(path: Path, content: object) -> Path:
    path.parent.mkdir(parents=True, exist_ok=True)
    path.write_bytes(content if isinstance(content, bytes) else json.dumps(content).encode())
    return path


def summary(findings: Findings) -> list[tuple[str, str, str, str | None, bool]]:
    return [(f.source, f.token.reveal(), f.host, f.login, f.direct_only) for f in findings.tokens]


def test_nothing_is_found_on_a_bare_machine(tmp_path: Path) -> None:
    """No token and no complaint."""
    assert find_tokens({}, tmp_path) == Findings((), ())


@pytest.mark.parametrize("value", ["", "   "])
def test_empty_variables_are_no_tokens(tmp_path: Path, value: str) -> None:
    """A variable set to nothing is not set."""
    assert find_tokens({"GH_TOKEN": value}, tmp_path) == Findings((), ())


def test_variables_come_in_githubs_order(tmp_path: Path) -> None:
    """The variable made for Copilot first; each token once; kinds that are not exchanged are marked."""
    environ = {"GITHUB_TOKEN": "gho_c0000000", "GH_TOKEN": "github_pat_b000", "COPILOT_GITHUB_TOKEN": " ghu_a0000000 "}
    assert summary(find_tokens(environ, tmp_path)) == [
        ("COPILOT_GITHUB_TOKEN", "ghu_a0000000", "github.com", None, False),
        ("GH_TOKEN", "github_pat_b000", "github.com", None, True),
        ("GITHUB_TOKEN", "gho_c0000000", "github.com", None, False),
    ]
    assert len(find_tokens(dict.fromkeys(environ, "ghu_same0000"), tmp_path).tokens) == 1


def test_the_files_of_known_tools_are_read(tmp_path: Path) -> None:
    """Plugins, copilot-api and OpenCode, each named with its file, in order of preference."""
    apps = put(
        tmp_path / ".config/github-copilot/apps.json",
        {
            "github.com:Iv1.b507a08c87ecfe98": {"user": "octocat", "oauth_token": "ghu_apps0000"},
            "octo.ghe.com:Ov23li8tweQw6odWQebz": {"oauth_token": "gho_tenant00"},
            "github.com:other": {"user": "nobody"},
            "odd": 5,
        },
    )
    put(tmp_path / ".config/github-copilot/hosts.json", {"": {"user": "old", "oauth_token": "ghu_hosts000"}})
    put(tmp_path / ".local/share/copilot-api/github_token", b"ghu_plain000\n")
    put(tmp_path / ".local/share/opencode/auth.json", {"github-copilot": {"type": "oauth", "refresh": "gho_open0000"}})
    findings = find_tokens({}, tmp_path)
    assert summary(findings) == [
        ("Copilot editor plugin", "ghu_apps0000", "github.com", "octocat", False),
        ("Copilot editor plugin", "gho_tenant00", "octo.ghe.com", None, True),
        ("Copilot editor plugin", "ghu_hosts000", "github.com", "old", False),
        ("copilot-api", "ghu_plain000", "github.com", None, False),
        ("OpenCode", "gho_open0000", "github.com", None, True),
    ]
    assert findings.problems == ()
    assert findings.tokens[0].path == apps
    assert "ghu_apps0000" not in repr(findings)


def test_directories_of_the_environment_come_first(tmp_path: Path) -> None:
    """XDG directories and the local application data of Windows are looked at; relative ones are ignored."""
    put(tmp_path / "xdg/github-copilot/hosts.json", {"github.com": {"oauth_token": "ghu_xdg00000"}})
    put(tmp_path / "local/github-copilot/apps.json", {"github.com:x": {"oauth_token": "ghu_windows0"}})
    put(tmp_path / "data/copilot-api/github_token", b"ghu_data0000")
    put(tmp_path / ".config/github-copilot/hosts.json", {"github.com": {"oauth_token": "ghu_home0000"}})
    environ = {
        "XDG_CONFIG_HOME": str(tmp_path / "xdg"),
        "LOCALAPPDATA": str(tmp_path / "local"),
        "XDG_DATA_HOME": str(tmp_path / "data"),
    }
    tokens = [found.token.reveal() for found in find_tokens(environ, tmp_path).tokens]
    assert tokens == ["ghu_xdg00000", "ghu_home0000", "ghu_windows0", "ghu_data0000"]
    assert find_tokens({"XDG_DATA_HOME": "data"}, tmp_path / "empty") == Findings((), ())


@pytest.mark.parametrize(
    ("address", "host"),
    [
        ("https://octo.ghe.com/", "octo.ghe.com"),
        ("octo.ghe.com", "octo.ghe.com"),
        ("https://[", "github.com"),
        ("//", "github.com"),
    ],
)
def test_opencode_names_its_tenant(tmp_path: Path, address: str, host: str) -> None:
    """The address may be with or without scheme; nonsense means github.com."""
    entry = {"github-copilot": {"refresh": "gho_open0000", "enterpriseUrl": address}}
    put(tmp_path / ".local/share/opencode/auth.json", entry)
    assert find_tokens({}, tmp_path).tokens[0].host == host


@pytest.mark.parametrize("content", [b"", b"{", b"[]", b"\xff\xfe", b'{"github-copilot": 5}', b"[" * 50_000])
def test_files_that_cannot_be_understood_are_reported(tmp_path: Path, content: bytes) -> None:
    """The problem names the file; other tokens are still found."""
    path = put(tmp_path / ".local/share/opencode/auth.json", content)
    findings = find_tokens({"GH_TOKEN": "ghu_a0000000"}, tmp_path)
    assert len(findings.tokens) == 1
    assert [str(path) in problem for problem in findings.problems] == [True]


def test_an_empty_token_file_is_reported(tmp_path: Path) -> None:
    """A file without a word holds no token."""
    put(tmp_path / ".local/share/copilot-api/github_token", b"\n")
    assert len(find_tokens({}, tmp_path).problems) == 1


@pytest.mark.parametrize("token", ["ghp_classic00000", "two words", "ghu_" + "a" * 2000, "line\nbreak"])
def test_unusable_tokens_are_reported_without_being_shown(tmp_path: Path, token: str) -> None:
    """What Copilot never takes is a problem, not an offer."""
    findings = find_tokens({"GH_TOKEN": token}, tmp_path)
    assert findings.tokens == ()
    assert findings.problems[0].startswith("GH_TOKEN: ")
    assert token not in findings.problems[0]


def test_links_pipes_and_enormous_files_are_skipped(tmp_path: Path) -> None:
    """Nothing that surprises or hangs is read."""
    target = put(tmp_path / "elsewhere", {"github.com": {"oauth_token": "ghu_link0000"}})
    directory = tmp_path / ".config/github-copilot"
    directory.mkdir(parents=True)
    (directory / "hosts.json").symlink_to(target)
    os.mkfifo(directory / "apps.json")
    big = put(tmp_path / ".local/share/copilot-api/github_token", b"a" * (1024 * 1024 + 1))
    findings = find_tokens({}, tmp_path)
    assert findings.tokens == ()
    assert len(findings.problems) == 3
    for part, path in (("link", "hosts.json"), ("plain file", "apps.json"), ("larger", str(big))):
        assert any(part in problem and path in problem for problem in findings.problems)


def test_looking_changes_nothing(tmp_path: Path) -> None:
    """Files, times and modes stay as they are."""
    path = put(tmp_path / ".config/github-copilot/hosts.json", {"github.com": {"oauth_token": "ghu_a0000000"}})
    path.chmod(0o644)
    before = path.stat()
    assert find_tokens({}, tmp_path).tokens == (
        FoundToken(source="Copilot editor plugin", path=path, token=Secret("ghu_a0000000")),
    )
    after = path.stat()
    assert (before.st_mode, before.st_mtime_ns, before.st_size) == (after.st_mode, after.st_mtime_ns, after.st_size)
