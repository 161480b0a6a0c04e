"""Where the servers that the SDKs talk to listen, and what their simulator says of the requests it got."""

from hosts.talking import ask

__all__ = ["KEY", "Servers"]

KEY = "a-key-of-the-tests"


class Servers:
    """The demo's address, that of a server that wants a key, and that of the simulator behind both."""

    def __init__(self, *, url: str, keyed_url: str, simulator_url: str) -> None:
        self.url = url
        self.keyed_url = keyed_url
        self.key = KEY
        self.simulator_url = simulator_url

    def violations(self) -> object:
        return ask(self.simulator_url, "/_simulator/violations").json

    def requests(self) -> int:
        return len(ask(self.simulator_url, "/_simulator/requests").json)
