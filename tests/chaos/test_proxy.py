"""The proxy carries what it is given, whole and in order, and fails in the way that it is told to."""

from __future__ import annotations

import socket
import threading
import time
from contextlib import suppress
from typing import TYPE_CHECKING

import pytest
from kafka_cluster import free_port
from proxy import Door, Proxy

if TYPE_CHECKING:
    from collections.abc import Iterator

WITHIN = 20.0  # seconds


class Echo(threading.Thread):
    """A server that says again what it hears."""

    def __init__(self) -> None:
        super().__init__(daemon=True)
        self.server = socket.create_server(("127.0.0.1", 0))
        self.port = self.server.getsockname()[1]

    def run(self) -> None:
        with suppress(OSError):
            while True:
                threading.Thread(target=self._serve, args=self.server.accept()[:1], daemon=True).start()

    def _serve(self, client: socket.socket) -> None:
        with client, suppress(OSError):
            while data := client.recv(4096):
                client.sendall(data)


@pytest.fixture
def door() -> Iterator[Door]:
    echo = Echo()
    echo.start()
    with Proxy() as proxy:
        yield proxy.door("echo", free_port(), echo.port)
    echo.server.close()


def knock(door: Door) -> socket.socket:
    return socket.create_connection(("127.0.0.1", door.port), timeout=WITHIN)


def say(client: socket.socket, words: bytes) -> None:
    client.sendall(words)


def hear(client: socket.socket, count: int) -> bytes:
    found = b""
    while len(found) < count:
        more = client.recv(65536)
        if not more:
            raise ConnectionError("closed")
        found += more
    return found


def await_forgotten(door: Door) -> None:
    until = time.monotonic() + WITHIN
    while door.connections:
        assert time.monotonic() < until
        time.sleep(0.01)


def test_what_is_said_is_heard_whole_and_in_order(door: Door) -> None:
    words = b"".join(b"%09d\n" % number for number in range(100_000))
    with knock(door) as client:
        threading.Thread(target=say, args=(client, words), daemon=True).start()
        assert hear(client, len(words)) == words
    assert door.passed == 2 * len(words)


def test_a_cut_resets_every_connection_and_the_next_one_is_well(door: Door) -> None:
    with knock(door) as one, knock(door) as other:
        for client in (one, other):
            say(client, b"hello")
            assert hear(client, 5) == b"hello"
        assert door.cut() == 2
        for client in (one, other):
            with pytest.raises(ConnectionError):
                hear(client, 1)
    with knock(door) as client:
        say(client, b"again")
        assert hear(client, 5) == b"again"


def test_while_it_stalls_nothing_comes_and_nobody_is_told_and_then_all_comes(door: Door) -> None:
    with knock(door) as client:
        say(client, b"before")
        assert hear(client, 6) == b"before"
        door.stall()
        say(client, b"while")
        with knock(door) as another:
            say(another, b"newcomer")
            for each in (client, another):
                each.settimeout(0.3)
                with pytest.raises(TimeoutError):
                    each.recv(1)
                each.settimeout(WITHIN)
            door.flow()
            assert hear(client, 5) == b"while"
            assert hear(another, 8) == b"newcomer"


def test_a_cut_ends_also_what_stalls(door: Door) -> None:
    with knock(door) as client:
        say(client, b"hello")
        assert hear(client, 5) == b"hello"
        door.stall()
        say(client, b"never")
        assert door.cut() == 1
        with pytest.raises(ConnectionError):
            hear(client, 1)
        await_forgotten(door)
        door.flow()


def test_a_delay_comes_once_each_way_and_ends_when_it_is_told_to(door: Door) -> None:
    with knock(door) as client:
        door.delay(0.2)
        begun = time.monotonic()
        say(client, b"slow")
        assert hear(client, 4) == b"slow"
        assert time.monotonic() - begun >= 0.4
        door.delay(0)
        say(client, b"fast")
        assert hear(client, 4) == b"fast"


def test_where_nobody_listens_behind_it_a_connection_is_closed(door: Door) -> None:
    with (
        Proxy() as proxy,
        knock(proxy.door("nobody", free_port(), free_port())) as client,
        pytest.raises(ConnectionError),
    ):
        hear(client, 1)


def test_a_client_that_goes_is_forgotten(door: Door) -> None:
    with knock(door) as client:
        say(client, b"hello")
        assert hear(client, 5) == b"hello"
        assert door.connections == 1
    await_forgotten(door)
