"""What hinders the loop now, by topic, and lines about changes of it: each is said once."""

from __future__ import annotations

from collections.abc import Callable

from hybridcast.core.parallel import describe_error

_MOST_SAID = 500


class Problems:
    """What hinders the loop.

    Parameters
    ----------
    say
        Function that receives a line when a problem comes, changes or ends.
    """

    def __init__(self, say: Callable[[str], None]) -> None:
        self.say = say
        self._now: dict[str, str] = {}
        self._said: dict[str, str] = {}

    def note(self, topic: str, problem: str) -> None:
        """Note what hinders something now; nothing if the text is empty."""
        before = self._now.get(topic, "")
        if before != problem:
            self.say(problem or f"solved: {before}")
        self._now[topic] = problem

    def attempt(self, what: str, write: Callable[[], object]) -> bool:
        """Write something and return whether it was written; if not, that is noted, and the loop goes on."""
        try:
            write()
        except Exception as error:  # a full disk, or a lost permission
            self.note(what, f"{what} cannot be written: {describe_error(error)}")
            return False
        self.note(what, "")
        return True

    def say_once(self, key: str, text: str) -> None:
        """Say something about a file unless it was said last time."""
        if self._said.pop(key, None) != text:
            self.say(f"{key}: {text}")
        self._said[key] = text
        if len(self._said) > _MOST_SAID:
            self._said.pop(next(iter(self._said)))

    @property
    def current(self) -> list[str]:
        """All that hinders the loop now."""
        return [problem for problem in self._now.values() if problem]
