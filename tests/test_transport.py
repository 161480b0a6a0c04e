"""TLS trusts what the system and SSL_CERT_FILE say, proxies are the system's, and errors name what to correct."""

import ssl
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path

import anyio
import anyio.abc
import httpx
import pytest
from certificates import self_signed
from faulty_server import EVENT_STREAM, OK, Connection, FaultyServer, answering, serving

from copilot_asgi._calls import Timeouts
from copilot_asgi._guards import GuardedTransport
from copilot_asgi._http import HttpClient
from copilot_asgi._transport import EnvironmentTransport, chosen_engine, default_transport, ssl_context
from copilot_asgi.config import Engine
from copilot_asgi.errors import ConfigError, UpstreamTimeout, UpstreamUnavailable

pytestmark = pytest.mark.anyio

HOST = "api.copilot.test"
URL = f"https://{HOST}/path"
VARIABLES = ("HTTP_PROXY", "HTTPS_PROXY", "ALL_PROXY", "NO_PROXY", "SSL_CERT_FILE", "SSL_CERT_DIR")


@pytest.fixture(autouse=True)
def _clean_environment(monkeypatch: pytest.MonkeyPatch) -> None:
    for name in VARIABLES:
        monkeypatch.delenv(name, raising=False)
        monkeypatch.delenv(name.lower(), raising=False)


@pytest.fixture(scope="module")
def certificate(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A file with a self-signed certificate for 127.0.0.1 and ``HOST``, and its key."""
    return self_signed(tmp_path_factory.mktemp("tls") / "certificate.pem", addresses=("127.0.0.1",), host=HOST)


@pytest.fixture
def server_context(certificate: Path) -> ssl.SSLContext:
    context = ssl.SSLContext(ssl.PROTOCOL_TLS_SERVER)
    context.load_cert_chain(certificate)
    return context


@pytest.fixture
def trusted(certificate: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """Trust the certificate as a user would make it trusted."""
    monkeypatch.setenv("SSL_CERT_FILE", str(certificate))


def open_client(transport: httpx.AsyncBaseTransport | None = None, *, connect: float = 5) -> HttpClient:
    timeouts = Timeouts(connect=connect, head=5, idle=5, auth=5, queue=5)
    return HttpClient(transport=transport, timeouts=timeouts, max_streams=4, allowed=lambda url: True)


def test_one_context_in_the_process():
    """Sixteen threads at once get the same context, which was built once, verifies, and knows certificates."""
    with ThreadPoolExecutor(16) as pool:
        contexts = set(pool.map(lambda _: ssl_context(), range(64)))
    [context] = contexts
    assert context.verify_mode is ssl.CERT_REQUIRED
    assert context.check_hostname
    assert context.get_ca_certs()


@pytest.mark.parametrize("content", [None, "no certificate"])
def test_a_certificate_file_that_is_none(content, tmp_path, monkeypatch):
    """An SSL_CERT_FILE that cannot be used is said so, not passed over."""
    path = tmp_path / "ca.pem"
    if content is not None:
        path.write_text(content)
    monkeypatch.setenv("SSL_CERT_FILE", str(path))
    with pytest.raises(ConfigError, match="SSL_CERT_FILE"):
        ssl_context()


@pytest.mark.usefixtures("trusted")
async def test_a_private_authority(server_context):
    """A certificate named by SSL_CERT_FILE is trusted, and its connection is used again."""
    async with serving(answering(), context=server_context) as server, open_client() as client:
        for _ in range(3):
            assert (await client.fetch("GET", server.url, headers=[])).body == b"ok"
        assert server.accepted == 1
    await server.all_closed()


async def test_an_unknown_certificate(server_context):
    """A certificate that nobody vouches for ends the call before anything is sent; the message says what to do."""
    async with serving(answering(), context=server_context) as server, open_client() as client:
        with pytest.raises(UpstreamUnavailable, match=r"certificate of 127\.0\.0\.1 .*SSL_CERT_FILE") as caught:
            await client.fetch("GET", server.url, headers=[])
        await server.all_closed()
    assert not caught.value.sent
    assert server.requests == []


async def test_a_server_that_does_not_speak_tls():
    """Plain HTTP where TLS is due is an error, never a downgrade."""

    async def play(connection: Connection) -> None:
        await connection.send(OK)

    async with serving(play) as server, open_client() as client:
        with pytest.raises(UpstreamUnavailable) as caught:
            await client.fetch("GET", server.url.replace("http:", "https:"), headers=[])
        await server.all_closed()
    assert not caught.value.sent


@pytest.mark.parametrize("patience", [0.05, 5])
async def test_a_handshake_that_never_ends(patience):
    """A handshake without an answer ends at the connect deadline or with its caller, and its socket is closed."""

    async def play(connection: Connection) -> None:
        await connection.gone()

    async with serving(play) as server, open_client(connect=0.1) as client:
        with anyio.move_on_after(patience) as scope:
            with pytest.raises(UpstreamTimeout):
                await client.fetch("GET", server.url.replace("http:", "https:"), headers=[])
        assert scope.cancelled_caught is (patience < 1)
        await server.all_closed()


@pytest.mark.usefixtures("trusted")
@pytest.mark.parametrize("pieces", [1, 2])
async def test_an_unasked_answer_under_tls(pieces, server_context):
    """A second answer is never taken for a later one, in the same TLS record or in the next."""
    poison = b"HTTP/1.1 200 OK\r\ncontent-length: 6\r\n\r\npoison"

    async def play(connection: Connection) -> None:
        await connection.request()
        if pieces == 1:
            await connection.send(OK + poison)
        else:
            await connection.send_together(OK, poison)
        await connection.request()
        await connection.send(OK)

    async with serving(play, context=server_context) as server, open_client() as client:
        for _ in range(3):
            assert (await client.fetch("GET", server.url, headers=[])).body == b"ok"
        assert server.accepted == 3


@pytest.mark.usefixtures("trusted")
async def test_damaged_tls_in_the_middle(server_context):
    """Bytes that are no TLS record break the stream off."""

    async def play(connection: Connection) -> None:
        await connection.request()
        await connection.send(EVENT_STREAM)
        await connection.send_raw(b"\x17\x03\x03\x00\x05hello" * 3)
        await connection.gone()

    async with serving(play, context=server_context) as server, open_client() as client:
        with pytest.raises(Exception, match="broke off"):
            await client.fetch("GET", server.url, headers=[])
        await server.all_closed()


class Proxy:
    """A proxy that passes every CONNECT on to one server, whatever it names, and keeps what it was told."""

    def __init__(self, target: str) -> None:
        self.port = httpx.URL(target).port or 443
        self.asked: list[bytes] = []

    async def play(self, connection: Connection) -> None:
        self.asked.append(await connection.request())
        await connection.send(b"HTTP/1.1 200 OK\r\n\r\n")
        async with await anyio.connect_tcp("127.0.0.1", self.port) as upstream:
            await connection.relay(upstream)


def through(server: FaultyServer, user: str = "user:hidden") -> str:
    return server.url.replace("http://", f"http://{user}@").removesuffix("/path")


@pytest.mark.usefixtures("trusted")
@pytest.mark.parametrize("variable", ["HTTPS_PROXY", "https_proxy", "ALL_PROXY"])
async def test_a_proxy(variable, server_context, monkeypatch):
    """Calls go through the proxy of the environment, with its password, which the server does not see."""
    async with serving(answering(), context=server_context) as server:
        proxy = Proxy(server.url)
        async with serving(proxy.play) as way:
            monkeypatch.setenv(variable, through(way))
            async with open_client() as client:
                for _ in range(2):
                    assert (await client.fetch("GET", URL, headers=[])).body == b"ok"
            assert len(proxy.asked) == 1
            assert proxy.asked[0].startswith(f"CONNECT {HOST}:443 ".encode())
            assert b"Proxy-Authorization: Basic " in proxy.asked[0]
            assert b"roxy" not in server.requests[0]


@pytest.mark.parametrize("proxies", ["https", "all"])
async def test_a_proxy_that_refuses(proxies):
    """A proxy's refusal names the variable and the status, and no password."""
    async with serving(answering(b"HTTP/1.1 407 hidden\r\ncontent-length: 0\r\n\r\n")) as way:
        transport = EnvironmentTransport(
            ssl_context(), GuardedTransport(ssl_context()), proxies={proxies: through(way)}, bypass=lambda host: False
        )
        async with open_client(transport) as client:
            with pytest.raises(UpstreamUnavailable, match=f"{proxies.upper()}_PROXY: it answered .* 407") as caught:
                await client.fetch("GET", URL, headers=[])
    assert not caught.value.sent
    assert "hidden" not in str(caught.value)


async def test_a_proxy_that_is_not_there():
    """A proxy that cannot be reached is named by its variable, not by its address."""
    async with serving(answering()) as way:
        pass
    transport = EnvironmentTransport(
        ssl_context(), GuardedTransport(ssl_context()), proxies={"https": through(way)}, bypass=lambda host: False
    )
    async with open_client(transport) as client:
        with pytest.raises(UpstreamUnavailable, match="HTTPS_PROXY: it could not be reached") as caught:
            await client.fetch("GET", URL, headers=[])
    assert "hidden" not in str(caught.value)


async def test_an_unknown_certificate_behind_a_proxy(server_context):
    """A certificate that fails behind a proxy is the certificate's fault."""
    async with serving(answering(), context=server_context) as server, serving(Proxy(server.url).play) as way:
        transport = EnvironmentTransport(
            ssl_context(), GuardedTransport(ssl_context()), proxies={"https": through(way)}, bypass=lambda host: False
        )
        async with open_client(transport) as client:
            with pytest.raises(UpstreamUnavailable, match="SSL_CERT_FILE"):
                await client.fetch("GET", URL, headers=[])


async def test_who_is_reached_directly():
    """Loopback, the hosts of NO_PROXY, and schemes without a proxy are reached directly; the others are not."""
    asked: list[str] = []

    def bypass(host: str) -> bool:
        asked.append(host)
        return host.startswith("direct.")

    async with serving(answering()) as server:
        transport = EnvironmentTransport(
            ssl_context(), GuardedTransport(ssl_context()), proxies={"http": "127.0.0.1:1"}, bypass=bypass
        )
        async with open_client(transport) as client:
            assert (await client.fetch("GET", server.url, headers=[])).body == b"ok"
            for url, says in (
                ("http://direct.test:8080/", "Check the network"),
                ("https://other.test/", "Check the network"),
                ("http://other.test/", "HTTP_PROXY: "),
            ):
                with pytest.raises(UpstreamUnavailable, match=says):
                    await client.fetch("GET", url, headers=[])
    assert asked == ["direct.test:8080", "other.test:80"]


@pytest.mark.parametrize("url", ["gopher://hidden", "http://proxy:hidden", "socks5://user:hidden@127.0.0.1"])
def test_a_proxy_that_cannot_be_used(url, monkeypatch):
    """A proxy of another kind is refused at the start; the message names the variable and not its value."""
    monkeypatch.setenv("HTTPS_PROXY", url)
    with pytest.raises(ConfigError, match="HTTPS_PROXY") as caught:
        default_transport(Engine.AUTO, on_asyncio=False)
    assert "hidden" not in str(caught.value)


def test_no_proxy_is_read_from_the_environment(monkeypatch):
    """The default engine asks the system which hosts need no proxy."""
    monkeypatch.setenv("HTTPS_PROXY", "http://127.0.0.1:1")
    monkeypatch.setenv("NO_PROXY", ".direct.test")
    transport = default_transport(Engine.AUTO, on_asyncio=False)
    assert isinstance(transport, EnvironmentTransport)
    assert transport._scheme(httpx.URL("https://a.direct.test/")) is None
    assert transport._scheme(httpx.URL("https://other.test/")) == "https"


@pytest.mark.parametrize(
    ("asked", "on_asyncio", "chosen"),
    [
        (Engine.AUTO, True, Engine.H1),
        (Engine.AUTO, False, Engine.HTTPX),
        (Engine.H1, True, Engine.H1),
        (Engine.HTTPX, True, Engine.HTTPX),
        (Engine.HTTPX, False, Engine.HTTPX),
    ],
)
def test_the_engine_is_the_fastest_that_can_be_used(asked: Engine, chosen: Engine, *, on_asyncio: bool) -> None:
    """Our own where the loop is asyncio and its parser is installed, unless one is asked for."""
    assert chosen_engine(asked, on_asyncio=on_asyncio) is chosen


def test_an_engine_that_cannot_be_used(monkeypatch: pytest.MonkeyPatch) -> None:
    """Asked for by name it is missed with the way to get it; ``auto`` takes the other one."""
    with pytest.raises(ConfigError, match=r"engine: h1 needs asyncio and httptools\. Install copilot-asgi\[fast\]"):
        chosen_engine(Engine.H1, on_asyncio=False)
    monkeypatch.setattr("copilot_asgi._transport.find_spec", lambda name: None)
    assert chosen_engine(Engine.AUTO) is Engine.HTTPX
    with pytest.raises(ConfigError, match="fast"):
        chosen_engine(Engine.H1)
