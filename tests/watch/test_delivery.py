"""Messages: in order, again after a failure, once for each version, whatever is killed between."""

from __future__ import annotations

import json
import sys
import time

import pytest

from hybridcast.errors import InputError
from hybridcast.watch import delivery
from hybridcast.watch.config import HookSettings
from hybridcast.watch.delivery import DeliveryThreads, Outbox

SAVE = "import sys, pathlib; pathlib.Path(sys.argv[1]).open('a').write(sys.stdin.read() + '\\n')"


class Desk:
    """An outbox whose time is in our hands."""

    def __init__(self, root, **hooks) -> None:
        self.root, self.hooks, self.time = root, hooks, 1e9
        (root / "queue").mkdir(exist_ok=True)
        self.open()

    def open(self) -> Outbox:
        self.box = Outbox(self.root / "queue", self.root / "known.json", self.hooks, lambda: self.time)
        return self.box

    def deliver(self) -> bool:
        """Deliver what is due of each kind; return whether something was."""
        return any([self.box.deliver_due(kind) for kind in self.hooks])

    def waiting(self) -> int:
        return self.box.describe().count


def save_to(path) -> HookSettings:
    return HookSettings(command=(sys.executable, "-c", SAVE, str(path)))


def lines(path) -> list[dict]:
    return [json.loads(line) for line in path.read_text().splitlines()] if path.exists() else []


def test_the_message_is_there_as_a_whole_when_a_command_starts(tmp_path):
    # had it a pipe, a kill between the start of the command and the writing would leave it an empty message
    size = "import os, pathlib, sys; pathlib.Path(sys.argv[1]).write_text(str(os.fstat(0).st_size))"
    desk = Desk(tmp_path, forecast=HookSettings(command=(sys.executable, "-c", size, str(tmp_path / "size"))))
    desk.box.post("forecast", "a 1", "1", {"text": "x" * 1000})
    assert desk.deliver()
    assert int((tmp_path / "size").read_text()) > 1000


def test_a_command_gets_the_message_once(tmp_path):
    got = tmp_path / "got"
    desk = Desk(tmp_path, forecast=save_to(got))
    assert desk.box.post("forecast", "a 1", "1", {"x": 1})
    assert not desk.box.post("forecast", "a 1", "1", {"x": 1})
    assert not desk.box.post("other", "a", "1", {})  # nobody asked for it
    assert desk.deliver()
    assert not desk.deliver()
    assert desk.box.post("forecast", "a 1", "2", {"x": 2})  # it has changed
    desk.open()  # a new start
    assert not desk.box.post("forecast", "a 1", "2", {"x": 2})
    desk.deliver()
    assert [(one["kind"], one["x"]) for one in lines(got)] == [("forecast", 1), ("forecast", 2)]
    assert len({one["id"] for one in lines(got)}) == 2


@pytest.fixture
def posting():
    """A server that takes what is posted, after it has refused the first ones."""
    from http.server import BaseHTTPRequestHandler, HTTPServer
    from threading import Thread

    got, answers = [], []

    class Handler(BaseHTTPRequestHandler):
        def do_POST(self):
            body = json.loads(self.rfile.read(int(self.headers["Content-Length"])))
            status = answers.pop(0) if answers else 200
            got.append((status, body, self.headers["Idempotency-Key"], self.headers.get("Authorization")))
            self.send_response(status)
            self.send_header("Content-Length", "0")
            self.end_headers()

        def log_message(self, *_):
            pass

    server = HTTPServer(("127.0.0.1", 0), Handler)
    Thread(target=server.serve_forever, kwargs={"poll_interval": 0.01}, daemon=True).start()
    yield f"http://me:secret@127.0.0.1:{server.server_port}/in", got, answers
    server.shutdown()
    server.server_close()


def test_posts_are_in_order_with_retries_and_the_same_id(tmp_path, posting, monkeypatch):
    url, got, answers = posting
    monkeypatch.setenv("OUR_TOKEN", "123")
    answers += [503, 302, 200, 200]
    plain = url.replace("me:secret@", "")
    desk = Desk(tmp_path, forecast=HookSettings(url=plain, token="OUR_TOKEN"))
    for number in range(2):
        desk.box.post("forecast", f"t{number}", "1", {"number": number})
        desk.time += 1
    assert not desk.deliver()
    assert desk.box.describe().problem.endswith("/in answers 503")
    assert "secret" not in desk.box.describe().problem
    desk.time += 6
    assert not desk.deliver()
    desk.open()
    desk.time += 11
    assert desk.deliver()
    assert desk.deliver()
    assert [(status, body["number"]) for status, body, *_ in got] == [(503, 0), (302, 0), (200, 0), (200, 1)]
    assert len({number for _, _, number, _ in got}) == 2
    assert {token for *_, token in got} == {"Bearer 123"}
    assert desk.waiting() == 0


def test_a_missing_token_or_command_is_a_problem_that_is_told(tmp_path):
    desk = Desk(tmp_path, forecast=HookSettings(url="http://127.0.0.1:9/", token="NO_SUCH_TOKEN"))
    desk.box.post("forecast", "a", "1", {})
    desk.deliver()
    assert desk.box.describe().problem == "the environment has no variable NO_SUCH_TOKEN"
    desk = Desk(tmp_path, warning=HookSettings(command=("/no/such/command",)))
    desk.box.post("warning", "a", "1", {})
    desk.time += 100
    desk.box.remove_unwanted()  # the message of the other kind, which nobody asks for any more
    assert not desk.deliver()
    assert "cannot be run" in desk.box.describe().problem


def test_a_command_that_fails_or_hangs(tmp_path):
    fails = HookSettings(command=(sys.executable, "-c", "import sys; sys.exit('no such place')"))
    hangs = HookSettings(command=(sys.executable, "-c", "import time; time.sleep(60)"), timeout="1s")
    for hook, reason in ((fails, "ended with status 1: no such place"), (hangs, "did not end within 1 s")):
        desk = Desk(tmp_path, forecast=hook)
        desk.box.post("forecast", reason, "1", {})
        desk.deliver()
        assert reason in desk.box.describe().problem
        next((tmp_path / "queue").glob("*.json")).unlink()


def test_a_message_is_given_up_after_a_while(tmp_path):
    desk = Desk(tmp_path, forecast=HookSettings(command=("/no/such/command",), give_up="1h"))
    desk.box.post("forecast", "a", "1", {})
    for _ in range(40):
        desk.deliver()
        desk.time += 300
    assert (desk.waiting(), desk.box.describe().dropped) == (0, 1)


def test_a_clock_that_jumps_ahead_gives_no_message_up(tmp_path):
    desk = Desk(tmp_path, forecast=HookSettings(command=("/no/such/command",), give_up="1h"))
    desk.box.post("forecast", "a", "1", {})
    desk.deliver()
    desk.time += 30 * 86400
    desk.deliver()
    assert (desk.waiting(), desk.box.describe().dropped) == (1, 0)


def test_a_clock_that_jumps_back_does_not_stop_deliveries(tmp_path):
    got = tmp_path / "got"
    desk = Desk(tmp_path, forecast=HookSettings(command=("/no/such/command",)))
    desk.box.post("forecast", "a", "1", {"x": 1})
    desk.deliver()
    desk.time -= 86400
    desk.hooks["forecast"] = save_to(got)
    assert desk.deliver()
    assert len(lines(got)) == 1


def test_a_thread_delivers_without_being_asked(tmp_path):
    got = tmp_path / "got"
    desk = Desk(tmp_path, forecast=save_to(got))
    with DeliveryThreads(desk.box):
        desk.box.post("forecast", "a", "1", {"x": 1})
        for _ in range(200):
            if desk.box.delivered:
                break
            time.sleep(0.05)
    assert len(lines(got)) == 1


def test_a_kill_before_it_is_noted_what_was_queued_queues_nothing_twice(tmp_path, monkeypatch):
    got = tmp_path / "got"
    desk = Desk(tmp_path, forecast=save_to(got))

    def kill(path, content):
        raise SystemExit

    with monkeypatch.context() as patch:
        write_json = delivery.write_json
        patch.setattr(
            delivery, "write_json", lambda path, *a: (kill if path.name == "known.json" else write_json)(path, *a)
        )
        with pytest.raises(SystemExit):
            desk.box.post("forecast", "a", "1", {"x": 1})
    desk.open()
    desk.deliver()  # before the loop posts again what it did not note
    assert not desk.box.post("forecast", "a", "1", {"x": 1})
    assert not desk.deliver()
    assert len(lines(got)) == 1


def test_messages_of_places_with_like_names_are_apart(tmp_path):
    got = tmp_path / "got"
    desk = Desk(tmp_path, warning=save_to(got))
    for number, place in enumerate(("Bad Ragaz", "Bad-Ragaz", "Bad_Ragaz", "Bad Ragaz!", "bad ragaz")):
        assert desk.box.post("warning", place, "raised", {"x": number})
        desk.open()
        assert not desk.box.post("warning", place, "raised", {"x": number})
    while desk.deliver():
        pass
    assert [one["x"] for one in lines(got)] == [0, 1, 2, 3, 4]


def test_messages_are_in_order_though_the_clock_goes_back_or_stands_still(tmp_path):
    got = tmp_path / "got"
    desk = Desk(tmp_path, warning=save_to(got))
    for number, back in enumerate((0, 0, 3600, 0)):
        desk.time -= back
        desk.box.post("warning", f"t{number}", "1", {"x": number})
    desk.open()
    desk.box.post("warning", "t4", "1", {"x": 4})
    while desk.deliver():
        pass
    assert [one["x"] for one in lines(got)] == [0, 1, 2, 3, 4]


def test_a_slow_hook_of_forecasts_holds_up_no_warning(tmp_path):
    got = tmp_path / "got"
    slow = HookSettings(command=(sys.executable, "-c", "import time; time.sleep(60)"), timeout="60s")
    desk = Desk(tmp_path, forecast=slow, warning=save_to(got))
    desk.box.post("forecast", "a", "1", {})
    desk.box.post("warning", "a", "1", {})
    started = time.monotonic()
    with DeliveryThreads(desk.box):
        while not lines(got) and time.monotonic() - started < 30:
            time.sleep(0.05)
    assert len(lines(got)) == 1


def test_what_a_command_leaves_in_the_background_is_not_waited_for(tmp_path):
    desk = Desk(tmp_path, forecast=HookSettings(command=("sh", "-c", "sleep 60 &"), timeout="20s"))
    desk.box.post("forecast", "a", "1", {})
    started = time.monotonic()
    assert desk.deliver()
    assert time.monotonic() - started < 15
    assert desk.waiting() == 0


def test_a_command_that_hangs_is_ended_with_all_that_it_has_started(tmp_path):
    late = tmp_path / "late"
    script = f"(sleep 3; touch {late}) & sleep 60"
    desk = Desk(tmp_path, forecast=HookSettings(command=("sh", "-c", script), timeout="1s"))
    desk.box.post("forecast", "a", "1", {})
    assert not desk.deliver()
    time.sleep(3.5)
    assert not late.exists()


def test_an_answer_without_an_end_is_an_answer(tmp_path):
    import socket
    from threading import Event, Thread

    listener, over = socket.create_server(("127.0.0.1", 0)), Event()

    def drip():
        connection, _ = listener.accept()
        connection.recv(65536)
        connection.sendall(b"HTTP/1.1 200 OK\r\nTransfer-Encoding: chunked\r\n\r\n")
        while not over.wait(0.2):
            connection.sendall(b"1\r\n.\r\n")

    thread = Thread(target=drip, daemon=True)
    thread.start()
    url = f"http://127.0.0.1:{listener.getsockname()[1]}/"
    desk = Desk(tmp_path, forecast=HookSettings(url=url, timeout="2s"))
    desk.box.post("forecast", "a", "1", {})
    started = time.monotonic()
    assert desk.deliver()
    assert time.monotonic() - started < 10
    over.set()
    listener.close()


def test_a_server_that_is_down_or_does_not_answer_is_named(tmp_path):
    import socket

    listener = socket.create_server(("127.0.0.1", 0))
    port = listener.getsockname()[1]
    url = f"http://me:secret@127.0.0.1:{port}/in"
    desk = Desk(tmp_path, forecast=HookSettings(url=url, timeout="1s"))
    desk.box.post("forecast", "a", "1", {})
    assert not desk.deliver()  # it accepts, and says nothing
    assert desk.box.describe().problem == f"http://127.0.0.1:{port}/in: ReadTimeout"
    listener.close()
    desk.time += 6
    assert not desk.deliver()
    assert desk.box.describe().problem == f"http://127.0.0.1:{port}/in: ConnectionError"
    assert desk.waiting() == 1


@pytest.mark.parametrize(
    ("hook", "message"),
    [
        ({}, "it has one of them"),
        ({"command": ("a",), "url": "https://b"}, "it has one of them"),
        ({"command": ()}, "a command has a name"),
        ({"url": "ftp://b"}, "it begins with https"),
        ({"url": "https://b", "timeout": "0s"}, "above zero"),
    ],
)
def test_hooks_that_are_refused(hook, message):
    with pytest.raises(InputError, match=message):
        HookSettings(**hook)


def test_passwords_are_in_no_message_about_a_failure(tmp_path, posting):
    url, got, answers = posting
    answers.append(500)
    desk = Desk(tmp_path, forecast=HookSettings(url=url))
    desk.box.post("forecast", "a", "1", {})
    desk.deliver()
    assert desk.box.describe().problem.endswith("/in answers 500")
    assert "secret" not in desk.box.describe().problem
    assert got[0][-1].startswith("Basic ")
