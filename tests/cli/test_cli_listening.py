"""Tests of the socket that a server gets."""

import socket

import pytest

from copilot_asgi.cli.listening import base_url, bind, caller_url
from copilot_asgi.errors import ConfigError, CopilotASGIError


def test_port_zero_becomes_a_real_one() -> None:
    """The address names the port that was given."""
    with bind("127.0.0.1", 0) as sock:
        port = sock.getsockname()[1]
        assert port > 0
        assert base_url(sock) == caller_url(sock) == f"http://127.0.0.1:{port}"


def test_a_wildcard_is_shown_and_the_address_to_paste_is_loopback() -> None:
    """Nobody can call 0.0.0.0, so what is pasted is this machine."""
    with bind("0.0.0.0", 0) as sock:
        port = sock.getsockname()[1]
        assert base_url(sock) == f"http://0.0.0.0:{port}"
        assert caller_url(sock) == f"http://127.0.0.1:{port}"


@pytest.mark.parametrize("host", ["::1", "[::1]"])
def test_version_six_addresses_are_bracketed(host) -> None:
    """An IPv6 address stands in brackets in a URL, and may be given so."""
    try:
        sock = bind(host, 0)
    except CopilotASGIError:
        pytest.skip("no IPv6 here")
    with sock:
        assert base_url(sock) == f"http://[::1]:{sock.getsockname()[1]}"


def test_a_taken_port_is_a_clear_error() -> None:
    """It names the port and the way out."""
    with socket.create_server(("127.0.0.1", 0)) as other:
        port = other.getsockname()[1]
        with pytest.raises(CopilotASGIError, match=f"Cannot listen on 127.0.0.1 port {port}: .*--port") as error:
            bind("127.0.0.1", port)
        assert not isinstance(error.value, ConfigError)


@pytest.mark.parametrize("host", ["no.such.host.invalid", "a" * 70 + ".example"])
def test_a_host_that_is_no_address_is_a_wrong_setting(host) -> None:
    """A name that means nothing here is named as the setting at fault."""
    with pytest.raises(ConfigError, match="host: "):
        bind(host, 0)
