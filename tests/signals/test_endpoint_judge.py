"""A judge behind an address: what it asks, what it reads, and what it does when the server will not."""

from __future__ import annotations

import contextlib
import json
import math
import threading
import time
from collections.abc import Iterator
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer

import pytest

from tutelage.errors import ConfigError
from tutelage.signals import EndpointJudge, judge_pairs


class Server:
    """Answers with what it was told to: a text, a status, a body, or seconds to wait; and keeps what it was asked."""

    def __init__(self) -> None:
        self.answers: list = ["A"]
        self.bodies: list[dict] = []
        self.headers: list = []
        outer = self

        class Handler(BaseHTTPRequestHandler):
            def do_POST(self) -> None:
                body = json.loads(self.rfile.read(int(self.headers["Content-Length"])))
                outer.bodies.append({**body, "path": self.path})
                outer.headers.append(dict(self.headers))
                answer = outer.answers[min(len(outer.bodies), len(outer.answers)) - 1]
                if callable(answer):
                    answer = answer(body)
                if isinstance(answer, float):
                    time.sleep(answer)
                    answer = "A"
                status, content = answer if isinstance(answer, tuple) else (200, answer)
                if isinstance(content, str):
                    content = {"choices": [{"message": {"content": content}}]}
                raw = content if isinstance(content, bytes) else json.dumps(content).encode()
                with contextlib.suppress(ConnectionError):  # who asked has stopped waiting
                    self.send_response(status)
                    if status == 429:
                        self.send_header("Retry-After", "0.01")
                    self.end_headers()
                    self.wfile.write(raw)

            def log_message(self, *arguments) -> None:
                pass

        self.server = ThreadingHTTPServer(("127.0.0.1", 0), Handler)
        self.server.daemon_threads = True
        self.thread = threading.Thread(target=self.server.serve_forever, kwargs={"poll_interval": 0.01}, daemon=True)
        self.thread.start()
        self.url = f"http://127.0.0.1:{self.server.server_port}/v1"

    def close(self) -> None:
        self.server.shutdown()
        self.server.server_close()
        self.thread.join()


@pytest.fixture
def server() -> Iterator[Server]:
    found = Server()
    yield found
    found.close()


def judge(server: Server, **changes) -> EndpointJudge:
    return EndpointJudge(**({"url": server.url, "model": "m", "pause": 0.0, "timeout": 5.0} | changes))


def test_what_is_asked(server: Server, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("MY_KEY", "secret")
    found = judge(server, key_variable="MY_KEY", characters=5, temperature=0.5)("Which?", "first {b} text", "second")
    assert found == 1.0
    (body,) = server.bodies
    assert (body["path"], body["model"], body["temperature"]) == ("/v1/chat/completions", "m", 0.5)
    content = body["messages"][0]["content"]
    assert "Which?" in content
    assert "Text A:\nfirst\n" in content
    assert "Text B:\nsecon\n" in content
    assert server.headers[0]["Authorization"] == "Bearer secret"
    assert judge(server, url=f"{server.url}/chat/completions")("Which?", "a {b}", "b") == 1.0
    assert "Text A:\na {b}\n" in server.bodies[1]["messages"][0]["content"], "a text is not taken for a place"
    assert "Authorization" not in server.headers[1]


def test_probabilities_are_read_where_there_are_any(server: Server) -> None:
    tokens = [{"token": "B", "logprob": math.log(0.6)}, {"token": " A", "logprob": math.log(0.2)},
              {"token": "A", "logprob": math.log(0.1)}, {"token": "I", "logprob": math.log(0.05)}]  # fmt: skip
    choice = {"message": {"content": "B"}, "logprobs": {"content": [{"top_logprobs": tokens}]}}
    server.answers = [(200, {"choices": [choice]})]
    assert judge(server)("Which?", "a", "b") == pytest.approx(0.3 / 0.9)
    assert server.bodies[0]["logprobs"] is True
    server.answers = [(200, {"choices": [{**choice, "logprobs": None}]})]
    assert judge(server)("Which?", "a", "b") == 0.0
    server.answers = ["The answer is B."]
    assert judge(server, logprobs=False)("Which?", "a", "b") == 0.0
    assert "logprobs" not in server.bodies[-1]


@pytest.mark.parametrize(
    "trouble",
    [(500, "down"), (429, "busy"), (200, b"<html>"), (200, {"choices": []}), (200, [1]), "neither", "A or B", ""],
)
def test_trouble_that_passes(server: Server, trouble) -> None:
    server.answers = [trouble, trouble, "B"]
    assert judge(server, retries=2)("Which?", "a", "b") == 0.0
    assert len(server.bodies) == 3


def test_trouble_that_stays_is_no_answer(server: Server) -> None:
    server.answers = [(503, "down")]
    assert math.isnan(judge(server, retries=1)("Which?", "a", "b"))
    assert len(server.bodies) == 2


def test_a_server_that_is_slow_or_gone() -> None:
    slow = Server()
    slow.answers = [1.0, "B"]
    assert judge(slow, timeout=0.2, retries=1)("Which?", "a", "b") == 0.0
    slow.close()
    assert math.isnan(judge(slow, retries=1)("Which?", "a", "b"))


def test_what_no_attempt_would_change(server: Server) -> None:
    server.answers = [(401, "who are you")]
    with pytest.raises(ConfigError, match=r"refuses the question \(401 Unauthorized\); check url, model and OPENAI"):
        judge(server)("Which?", "a", "b")
    assert len(server.bodies) == 1


def test_pairs_judged_behind_an_address(server: Server, tmp_path) -> None:
    def shorter(body: dict) -> object:
        content = body["messages"][0]["content"]
        a, b = content.split("Text A:\n")[1].split("\n\nText B:\n")
        return (500, "down") if "lost" in content else "A" if len(a) < len(b.split("\n\nAnswer")[0]) else "B"

    server.answers = [shorter]
    texts = ["a", "bb", "ccc", "lost"]
    asking = judge(server, retries=0)
    options = {"criteria": ["writing-style"], "cache": tmp_path, "workers": 4}
    found = judge_pairs(texts, [(0, 1), (2, 1), (3, 0)], asking, **options)
    assert found.outcomes[:2, 0].tolist() == [1.0, 0.0]
    assert found.missing == 1
    before = len(server.bodies)
    again = judge_pairs(texts, [(0, 1), (2, 1), (3, 0)], asking, **options)
    assert len(server.bodies) == before + 2, "only what is missing is asked again"
    assert again.outcomes[:2].tolist() == found.outcomes[:2].tolist()


@pytest.mark.parametrize(
    ("changes", "said"),
    [
        ({"url": "localhost:8000"}, "url must begin with http:// or https://"),
        ({"prompt": "{a} or {b}?"}, "prompt must hold {question}"),
        ({"characters": 0}, "characters must be >= 1, got 0"),
        ({"answer_tokens": 0}, "answer_tokens must be >= 1, got 0"),
        ({"temperature": -1.0}, "temperature must be >= 0, got -1.0"),
        ({"timeout": 0.0}, "timeout must be > 0, got 0.0"),
        ({"retries": -1}, "retries must be >= 0, got -1"),
        ({"pause": math.nan}, "pause must be >= 0, got nan"),
    ],
)
def test_bad_input(changes, said) -> None:
    with pytest.raises(ValueError, match=said):
        EndpointJudge(**({"url": "http://x/v1", "model": "m"} | changes))


def test_answers_belong_to_model_and_prompt() -> None:
    one = EndpointJudge(url="http://x/v1", model="m")
    assert one.fingerprint() == EndpointJudge(url="http://y/v1", model="m", timeout=3, retries=9).fingerprint()
    assert one.fingerprint() != EndpointJudge(url="http://x/v1", model="n").fingerprint()
