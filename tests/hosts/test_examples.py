"""The examples that need no host: imported as they are, signed in to the simulator, called once."""

import importlib.util
import logging
from pathlib import Path

import httpx
import pytest

from copilot_asgi import CopilotApp, Upstream
from copilot_asgi.in_process import in_process_transport
from copilot_asgi.simulator import Simulator
from tests.stand import CHAT

pytestmark = pytest.mark.anyio

EXAMPLES = Path(__file__).parents[2] / "examples"


@pytest.fixture
def simulator(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> Simulator:
    """A simulator that every app made in this test talks to, through settings from the environment."""
    simulator = Simulator()
    monkeypatch.chdir(tmp_path)
    monkeypatch.setenv("COPILOT_ASGI_GITHUB_TOKEN", simulator.sign_in())
    monkeypatch.setenv("COPILOT_ASGI_DATA_DIR", str(tmp_path / "data"))
    made = Upstream.__init__

    def make(self: Upstream, *given: object, **named: object) -> None:
        transport = in_process_transport(simulator, raise_exceptions=False)
        made(self, *given, **{**named, "transport": transport})  # type: ignore[arg-type]  # passed on as they came

    monkeypatch.setattr(Upstream, "__init__", make)
    return simulator


def example(name: str) -> CopilotApp:
    """The app of an example, made anew."""
    spec = importlib.util.spec_from_file_location(name, EXAMPLES / f"{name}.py")
    assert spec is not None
    assert spec.loader is not None
    module = importlib.util.module_from_spec(spec)
    spec.loader.exec_module(module)
    app: CopilotApp = module.app
    return app


async def ask(app: CopilotApp, body: dict[str, object]) -> httpx.Response:
    async with app, httpx.AsyncClient(transport=in_process_transport(app), base_url="http://localhost") as client:
        return await client.post("/v1/chat/completions", json=body)


async def test_a_stage_of_ones_own(simulator: Simulator, caplog: pytest.LogCaptureFixture) -> None:
    """It runs around every exchange, and knows when the last byte is out."""
    caplog.set_level(logging.INFO, "uvicorn.error")
    assert (await ask(example("own_stage"), CHAT)).status_code == 200
    assert "s for gpt-4o" in caplog.text


async def test_a_system_prompt_in_one_line(simulator: Simulator) -> None:
    """It is what upstream reads first."""
    assert (await ask(example("transform_requests"), CHAT)).status_code == 200
    sent = simulator.requests[-1].body
    assert sent.index(b"Answer in one sentence.") < sent.index(b"hello")


class Lines(logging.Handler):
    """Keeps the lines of one logger, whatever other handlers there are."""

    def __init__(self) -> None:
        super().__init__()
        self.lines: list[str] = []

    def emit(self, record: logging.LogRecord) -> None:
        self.lines.append(record.getMessage())


async def test_an_audit_log_in_the_hosts_own(simulator: Simulator) -> None:
    """Served and refused, one line each."""
    handler = Lines()
    logger = logging.getLogger("audit_log")
    logger.addHandler(handler)
    try:
        app = example("audit_to_logger")
        await ask(app, CHAT)
        await ask(app, {**CHAT, "model": "nothing"})
    finally:
        logger.removeHandler(handler)
    assert ['"outcome":"ok"' in line for line in handler.lines] == [True, False]


async def test_an_approver_of_ones_own(simulator: Simulator) -> None:
    """Small models pass at any hour."""
    assert (await ask(example("approval_hook"), {**CHAT, "model": "gpt-5-mini"})).status_code == 200
