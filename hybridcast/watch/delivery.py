"""Messages to commands and URLs: a queue on the disk, delivered in order, with retries, once for each change.

A message has a key, such as the issue time of a forecast, and a version, which changes with its content. What was
queued in one version is not queued again. A message is a file until it is delivered, so nothing is lost when the loop
is killed; if that happens between the delivery and the removal of the file, the message is delivered once more, with
the same ``id`` (and the header ``Idempotency-Key``).
"""

from __future__ import annotations

import hashlib
import json
import logging
import os
import signal
import subprocess
import tempfile
import threading
import time
from collections.abc import Callable, Iterable
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from hybridcast.core.parallel import describe_error
from hybridcast.core.remote import hide_secrets
from hybridcast.watch.config import HookSettings
from hybridcast.watch.json_files import read_json, write_json

log = logging.getLogger(__name__)

FIRST_WAIT, LAST_WAIT = 5.0, 600.0
"""Time (s) after which a delivery is tried again; doubled each time, up to the last."""
KEEP_KNOWN = 7 * 24 * 3600.0
"""Time (s) for which it is known what was queued."""
_LOOK, _GRACE = 1.0, 2.0


class DeliveryError(Exception):
    """A message was not delivered; the message says why."""


@dataclass(frozen=True)
class Waiting:
    """The messages that wait, and what hinders them."""

    count: int
    dropped: int
    """Number of messages that were given up since the start."""
    problem: str
    """Why the first of them could not be delivered; empty if it was not tried yet."""


class Outbox:
    """The queue of messages.

    Parameters
    ----------
    folder
        Folder of the messages that wait.
    known
        File of what was queued.
    hooks
        What to do with messages of each kind, such as ``"forecast"``; those of other kinds are not queued.
    now
        Function that returns the time, s since 1970.
    """

    def __init__(
        self, folder: Path, known: Path, hooks: dict[str, HookSettings], now: Callable[[], float] = time.time
    ) -> None:
        self._folder, self._known_path, self._hooks, self._now = folder, known, hooks, now
        self._known: dict[str, Any] = read_json(known) or {}
        self._number = 0
        """Number of the last message; their names are in the order in which they are delivered."""
        self.dropped = 0
        self.delivered = 0
        self._note_waiting()

    def _note_waiting(self) -> None:
        """Note the messages that wait as queued: a kill may have come before that was written."""
        for path in self._list():
            message = read_json(path)
            self._number = max(self._number, _parse_number(path))
            if message is not None and "version" in message:
                name = _name(message["kind"], message["key"])
                self._known[name] = {"version": message["version"], "time": message["created"]}

    def post(self, kind: str, key: str, version: str, content: dict[str, Any]) -> bool:
        """Queue a message unless it was queued in this version; return whether it is queued now."""
        name = _name(kind, key)
        if kind not in self._hooks or self._known.get(name, {}).get("version") == version:
            return False
        now = self._now()
        number = hashlib.sha256(f"{name}\n{version}".encode()).hexdigest()[:16]
        # after the last one, even if the clock has gone back, or two came in one millisecond
        place = max(int(now * 1e3), self._number + 1)
        message = {"id": number, "kind": kind, "key": key, "version": version, "created": now, "tries": 0, "retry": now}
        write_json(self._folder / f"{place:015d}-{number}.json", {**message, "content": content})
        self._number = place
        since = now - KEEP_KNOWN
        self._known = {one: about for one, about in self._known.items() if about["time"] > since}
        self._known[name] = {"version": version, "time": now}
        write_json(self._known_path, self._known)
        return True

    @property
    def kinds(self) -> Iterable[str]:
        """Kinds of messages that are delivered."""
        return self._hooks.keys()

    def deliver_due(self, kind: str) -> bool:
        """Deliver the first message of a kind if it is due; return whether it was delivered or dropped."""
        for path in self._list():
            message = read_json(path)
            if message is None or message["kind"] != kind:
                continue
            wait = message["retry"] - self._now()
            is_due = not 0 < wait <= LAST_WAIT  # after a jump of the clock the next try may be far off
            return is_due and self._deliver(path, message, self._hooks[kind])
        return False

    def remove_unwanted(self) -> None:
        """Remove the messages of kinds that were taken out of the configuration."""
        for path in self._list():
            message = read_json(path)
            if message is not None and message["kind"] not in self._hooks:
                path.unlink(missing_ok=True)

    def _deliver(self, path: Path, message: dict[str, Any], hook: HookSettings) -> bool:
        body = {"id": message["id"], "kind": message["kind"], **message["content"]}
        try:
            run_hook(hook, body)
        except DeliveryError as error:
            return self._postpone(path, message, hook, str(error))
        path.unlink(missing_ok=True)
        self.delivered += 1
        return True

    def _postpone(self, path: Path, message: dict[str, Any], hook: HookSettings, reason: str) -> bool:
        """Note when a message is tried again; return True if it is dropped instead."""
        now = self._now()
        waited = message.get("waited", 0.0)  # not the age: after a jump of the clock that may be anything
        if waited > hook.give_up_s:
            path.unlink(missing_ok=True)
            self.dropped += 1
            log.warning("message %s %s was dropped: %s", message["kind"], message["key"], reason)
            return True
        wait = min(FIRST_WAIT * 2 ** min(message["tries"], 20), LAST_WAIT)
        tried = {"tries": message["tries"] + 1, "retry": now + wait, "waited": waited + wait, "problem": reason}
        write_json(path, {**message, **tried})
        return False

    def describe(self) -> Waiting:
        """Return what waits."""
        paths = self._list()
        first = read_json(paths[0]) if paths else None
        return Waiting(len(paths), self.dropped, str((first or {}).get("problem", "")))

    def _list(self) -> list[Path]:
        return sorted(path for path in self._folder.glob("*.json") if not path.name.startswith("."))


def _name(kind: str, key: str) -> str:
    """Return the name of a message in the list of those queued; made fit for files it could be that of another one."""
    return f"{kind} {key}"


def _parse_number(path: Path) -> int:
    number = path.name.partition("-")[0]
    return int(number) if number.isdigit() else 0


class DeliveryThreads:
    """A thread for each kind of messages, so that a slow server holds up neither forecasts nor warnings.

    A context manager; what waits at its end is delivered at the next start.
    """

    def __init__(self, outbox: Outbox) -> None:
        self._outbox = outbox
        self._end = threading.Event()
        self._threads = [threading.Thread(target=self._run, args=(kind,), daemon=True) for kind in outbox.kinds]

    def __enter__(self) -> DeliveryThreads:
        self._outbox.remove_unwanted()
        for thread in self._threads:
            thread.start()
        return self

    def __exit__(self, *_: object) -> None:
        self._end.set()
        until = time.monotonic() + _GRACE
        for thread in self._threads:
            thread.join(max(0.0, until - time.monotonic()))

    def _run(self, kind: str) -> None:
        said = ""
        while not self._end.is_set():
            try:
                busy, problem = self._outbox.deliver_due(kind), ""
            except Exception as error:  # such as a full disk; messages stay where they are
                busy, problem = False, describe_error(error)
            if problem and problem != said:
                log.warning("messages cannot be delivered: %s", problem)
            said = problem
            if not busy:
                self._end.wait(_LOOK)


def run_hook(hook: HookSettings, body: dict[str, Any]) -> None:
    """Run a command, or post to a URL; raise `DeliveryError` if the command fails or the server refuses it."""
    if hook.command is not None:
        _run_command(hook.command, body, hook.timeout_s)
    else:
        _post(str(hook.url), body, hook.token, hook.timeout_s)


def _run_command(command: tuple[str, ...], body: dict[str, Any], timeout: float) -> None:
    """Run a command until it ends; what it leaves running in the background is not waited for.

    Its input is a file and no pipe, so that it gets the whole message or is not started, though this process is killed.
    """
    with tempfile.TemporaryFile() as message, tempfile.TemporaryFile() as errors:
        message.write(json.dumps(body).encode())
        message.seek(0)
        try:
            process = subprocess.Popen(
                command, stdin=message, stdout=subprocess.DEVNULL, stderr=errors, start_new_session=True
            )
        except OSError as error:
            raise DeliveryError(f"{command[0]} cannot be run ({error.strerror})") from error
        with process:
            try:
                process.wait(timeout)
            except subprocess.TimeoutExpired as error:
                os.killpg(process.pid, signal.SIGKILL)  # the processes that it has started, too
                raise DeliveryError(f"{command[0]} did not end within {timeout:g} s") from error
        if process.returncode:
            errors.seek(0)
            last = (errors.read().decode(errors="replace").strip().splitlines() or [""])[-1][:200]
            raise DeliveryError(f"{command[0]} ended with status {process.returncode}: {last}")


def _post(url: str, body: dict[str, Any], token: str | None, timeout: float) -> None:
    import requests

    headers = {"Idempotency-Key": body["id"]}
    if token is not None:
        if token not in os.environ:
            raise DeliveryError(f"the environment has no variable {token}")
        headers["Authorization"] = f"Bearer {os.environ[token]}"
    try:
        # the body of the answer is not waited for: a server may send it for ever
        with requests.post(
            url, json=body, headers=headers, timeout=timeout, allow_redirects=False, stream=True
        ) as answer:
            status = answer.status_code
    except (requests.RequestException, ValueError) as error:
        raise DeliveryError(f"{hide_secrets(url)}: {type(error).__name__}") from error
    if not 200 <= status < 300:
        raise DeliveryError(f"{hide_secrets(url)} answers {status}")
