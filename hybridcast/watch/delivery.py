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
import subprocess
import threading
import time
from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from hybridcast.core.files import safe_filename
from hybridcast.core.parallel import describe_error
from hybridcast.core.remote import hide_secrets
from hybridcast.watch.config import HookSettings
from hybridcast.watch.json_files import read_json, write_json

log = logging.getLogger(__name__)

FIRST_WAIT, LAST_WAIT = 5.0, 600.0
"""Time (s) after which a delivery is tried again; doubled each time, up to the last."""
KEEP_KNOWN = 7 * 24 * 3600.0
"""Time (s) for which it is known what was queued."""
_LOOK = 1.0


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
        self._lock = threading.Lock()
        self.dropped = 0
        self.delivered = 0

    def post(self, kind: str, key: str, version: str, content: dict[str, Any]) -> bool:
        """Queue a message unless it was queued in this version; return whether it is queued now."""
        name = f"{kind}-{safe_filename(key)}"
        if kind not in self._hooks or self._known.get(name, {}).get("version") == version:
            return False
        now = self._now()
        number = hashlib.sha256(f"{name}\n{version}".encode()).hexdigest()[:16]
        message = {"id": number, "kind": kind, "key": key, "created": now, "tries": 0, "retry": now, "content": content}
        # the names are in the order in which messages are delivered
        write_json(self._folder / f"{int(now * 1e3):015d}-{number}.json", message)
        since = now - KEEP_KNOWN
        self._known = {one: about for one, about in self._known.items() if about["time"] > since}
        self._known[name] = {"version": version, "time": now}
        write_json(self._known_path, self._known)
        return True

    def deliver_due(self, give_up: Callable[[], bool] = lambda: False) -> bool:
        """Deliver the first message of each kind that is due; return whether one was delivered or dropped."""
        with self._lock:
            done = False
            seen: set[str] = set()
            for path in self._list():
                message = read_json(path)
                if message is None or message["kind"] in seen or give_up():
                    continue
                seen.add(message["kind"])
                wait = message["retry"] - self._now()
                if not 0 < wait <= LAST_WAIT:  # after a jump of the clock the next try may be far off
                    done |= self._deliver(path, message)
            return done

    def _deliver(self, path: Path, message: dict[str, Any]) -> bool:
        hook = self._hooks.get(message["kind"])
        if hook is None:  # it was taken out of the configuration
            path.unlink(missing_ok=True)
            return True
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
        if now - message["created"] > hook.give_up_s:
            path.unlink(missing_ok=True)
            self.dropped += 1
            log.warning("message %s %s was dropped: %s", message["kind"], message["key"], reason)
            return True
        wait = min(FIRST_WAIT * 2 ** min(message["tries"], 20), LAST_WAIT)
        write_json(path, {**message, "tries": message["tries"] + 1, "retry": now + wait, "problem": reason})
        return False

    def describe(self) -> Waiting:
        """Return what waits."""
        paths = self._list()
        first = read_json(paths[0]) if paths else None
        return Waiting(len(paths), self.dropped, str((first or {}).get("problem", "")))

    def _list(self) -> list[Path]:
        return sorted(path for path in self._folder.glob("*.json") if not path.name.startswith("."))


class DeliveryThread:
    """A thread that delivers messages, so that a slow server does not hold up forecasts; a context manager."""

    def __init__(self, outbox: Outbox) -> None:
        self._outbox = outbox
        self._end = threading.Event()
        self._thread = threading.Thread(target=self._run, daemon=True)

    def __enter__(self) -> DeliveryThread:
        self._thread.start()
        return self

    def __exit__(self, *_: object) -> None:
        self._end.set()
        self._thread.join(2.0)  # what waits for a server is delivered at the next start

    def _run(self) -> None:
        while not self._end.is_set():
            try:
                busy = self._outbox.deliver_due(self._end.is_set)
            except Exception as error:  # such as a full disk; messages stay where they are
                log.warning("messages cannot be delivered: %s", describe_error(error))
                busy = False
            if not busy:
                self._end.wait(_LOOK)


def run_hook(hook: HookSettings, body: dict[str, Any]) -> None:
    """Run a command, or post to a URL; raise `DeliveryError` if the command fails or the server refuses it."""
    if hook.command is not None:
        _run_command(hook.command, body, hook.timeout_s)
    else:
        _post(str(hook.url), body, hook.token, hook.timeout_s)


def _run_command(command: tuple[str, ...], body: dict[str, Any], timeout: float) -> None:
    try:
        done = subprocess.run(
            command, input=json.dumps(body), text=True, capture_output=True, timeout=timeout, check=False
        )
    except subprocess.TimeoutExpired as error:
        raise DeliveryError(f"{command[0]} did not end within {timeout:g} s") from error
    except OSError as error:
        raise DeliveryError(f"{command[0]} cannot be run ({error.strerror})") from error
    if done.returncode:
        last = (done.stderr.strip().splitlines() or [""])[-1][:200]
        raise DeliveryError(f"{command[0]} ended with status {done.returncode}: {last}")


def _post(url: str, body: dict[str, Any], token: str | None, timeout: float) -> None:
    import requests

    headers = {"Idempotency-Key": body["id"]}
    if token is not None:
        if token not in os.environ:
            raise DeliveryError(f"the environment has no variable {token}")
        headers["Authorization"] = f"Bearer {os.environ[token]}"
    try:
        answer = requests.post(url, json=body, headers=headers, timeout=timeout, allow_redirects=False)
    except requests.RequestException as error:
        raise DeliveryError(f"{hide_secrets(url)}: {type(error).__name__}") from error
    if not 200 <= answer.status_code < 300:
        raise DeliveryError(f"{hide_secrets(url)} answers {answer.status_code}")
