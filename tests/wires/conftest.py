import itertools

import pytest

from support import Server

numbers = itertools.count(1)


def pytest_configure(config):
    config.addinivalue_line("markers", "long: takes long by nature, runs with `run.py --long` only")


@pytest.fixture(scope="session")
def shared():
    server = Server()
    yield server
    server.stop()


@pytest.fixture
def server(shared):
    """A server that nobody is connected to, neither before the test nor after it."""
    yield shared
    try:
        shared.idle()
    except AssertionError as problem:
        raise AssertionError(f"{problem}\n--- the server said:\n{shared.story()}") from None


@pytest.fixture
def room():
    """A room id of the test's own."""
    return f"room {next(numbers)}"


@pytest.fixture
def party():
    """Closes the peers that a test adds, even where the test fails."""
    peers = []

    def add(peer):
        peers.append(peer)
        return peer

    yield add
    for peer in peers:
        peer.close()
