import itertools

import pytest

from support import Server

numbers = itertools.count(1)


def pytest_configure(config):
    config.addinivalue_line("markers", "long: slow, runs with `run.py --long` only")


@pytest.fixture(scope="session")
def shared():
    server = Server()
    yield server
    server.stop()


@pytest.fixture
def server(shared):
    """A server without connections, before and after the test."""
    yield shared
    try:
        shared.idle()
    except AssertionError as problem:
        raise AssertionError(f"{problem}\n--- output of the server:\n{shared.story()}") from None


@pytest.fixture
def room():
    """A room id that only this test uses."""
    return f"room {next(numbers)}"


@pytest.fixture
def add_peer():
    """Closes the peers that a test adds, even if the test fails."""
    peers = []

    def add(peer):
        peers.append(peer)
        return peer

    yield add
    for peer in peers:
        peer.close()
