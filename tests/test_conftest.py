"""The guards of ``conftest.py`` do guard."""

from __future__ import annotations

import os
import socket
import threading

import pytest


def test_leaving_the_machine_is_refused() -> None:
    with pytest.raises(RuntimeError, match=r"may not use the network: .* 192\.0\.2\.1"):
        socket.create_connection(("192.0.2.1", 80), timeout=0.1)
    with pytest.raises(RuntimeError, match=r"look up example\.org"):
        socket.getaddrinfo("example.org", 80)
    with socket.socket() as sock, pytest.raises(RuntimeError, match="may not use the network"):
        sock.connect_ex(("192.0.2.1", 80))


def test_the_machine_itself_stays_reachable() -> None:
    with socket.create_server(("127.0.0.1", 0)) as server:
        answer = threading.Thread(target=lambda: server.accept()[0].close())
        answer.start()
        with socket.create_connection(server.getsockname(), timeout=10) as client:
            assert client.recv(1) == b""
        answer.join()


def test_one_thread_and_no_hub() -> None:
    import torch

    assert torch.get_num_threads() == 1
    assert os.environ["HF_HUB_OFFLINE"] == "1"
