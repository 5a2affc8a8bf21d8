"""Choice among the members and the statistics of an ensemble.

Without a choice, all members are kept, each as a run of its own. A percentile, or the mean of an ensemble, is no
run: rain that is nowhere in any member. It is used only if it is asked for, and probabilities never are.
"""

from __future__ import annotations

import re
from collections.abc import Sequence

from hybridcast.errors import InputError, ReadError
from hybridcast.nwp.pieces import Piece, complaint

#: Statistic of a piece that is the mean over the members.
MEAN = "mean of the ensemble"
#: Beginning of the statistic of a piece that is a percentile over the members.
PERCENTILE = "percentile "

_GIVE = "Give a file with amounts, mean rates or instantaneous values"

Choice = int | str | None


def choose_members(pieces: Sequence[Piece], choice: Choice) -> tuple[list[Piece], list[str]]:
    """Return the pieces of the members or of the statistic that are chosen, and notes on those left out.

    Parameters
    ----------
    pieces
        Pieces of any files.
    choice
        Number of a member, ``"mean"``, a percentile such as ``"p50"``, or None for all members.

    Raises
    ------
    InputError
        If the choice is none of those, nothing is of the chosen member or statistic, or some fields are of members and
        others of a run without members.
    ReadError
        If there are statistics only, and none is chosen.
    """
    if choice is None:
        return _choose_runs(pieces)
    wanted = _parse(choice)
    if isinstance(wanted, int):
        kept = [piece._replace(member=None) for piece in pieces if piece.member == wanted and not piece.statistic]
    else:
        kept = [piece._replace(statistic="", member=None) for piece in pieces if piece.statistic == wanted]
    if not kept:
        raise InputError(f"member={choice!r}", f"the files hold {_describe(pieces)}", "Choose one of these, or none")
    return kept, []


def _parse(choice: int | str) -> int | str:
    """Return the number of a member, or the statistic of a piece."""
    text = str(choice).strip().lower()
    if re.fullmatch(r"[+-]?\d+", text):
        return int(text)
    if text == "mean":
        return MEAN
    match = re.fullmatch(r"p(\d+(?:\.\d+)?)", text)
    if match is None:
        rule = "it is the number of a member, 'mean', or a percentile such as 'p50'"
        raise InputError(f"member={choice!r}", rule, "Choose one of these, or none for all members")
    return f"{PERCENTILE}{float(match[1]):g}"


def _choose_runs(pieces: Sequence[Piece]) -> tuple[list[Piece], list[str]]:
    kept = [piece for piece in pieces if not piece.statistic]
    if not kept and pieces:
        raise _statistics_only(pieces)
    numbers = {piece.member for piece in kept}
    if len(numbers) > 1 and None in numbers:
        one = min(number for number in numbers if number is not None)
        alone = next(piece for piece in kept if piece.member is None)
        raise InputError(
            f"the files hold {_describe(kept)}{_in_file(alone)}",
            "fields are of the members of one ensemble, or of runs without members",
            f"Open each by itself, or choose a member: member={one}",
            cli_remedy=f"Give the files of one of them, or choose a member: --nwp-member {one}",
        )
    left = {f"{piece.name} ({piece.statistic})": None for piece in pieces if piece.statistic}
    return kept, list(left)


def _in_file(piece: Piece) -> str:
    return "" if piece.path is None else f" ({piece.name} in {piece.path})"


def _statistics_only(pieces: Sequence[Piece]) -> ReadError | InputError:
    usable = sorted({name for piece in pieces if (name := _option(piece.statistic))})
    remedy = (
        (f"Choose one: member={usable[0]!r}", f"Choose one: --nwp-member {usable[0]}") if usable else (_GIVE, _GIVE)
    )
    return complaint(pieces[0].path, f"{_describe(pieces)}, and no field of a run or of a member", *remedy)


def _option(statistic: str) -> str:
    """Return the option that chooses a statistic; empty if none does."""
    if statistic == MEAN:
        return "mean"
    return f"p{statistic.removeprefix(PERCENTILE)}" if statistic.startswith(PERCENTILE) else ""


def _describe(pieces: Sequence[Piece]) -> str:
    numbers = sorted({piece.member for piece in pieces if piece.member is not None and not piece.statistic})
    statistics = sorted({f"{piece.name} as {piece.statistic}" for piece in pieces if piece.statistic})
    parts = [f"members {', '.join(map(str, numbers))}"] if numbers else []
    if any(piece.member is None and not piece.statistic for piece in pieces):
        parts.append("a run without members")
    return " and ".join([*parts, *statistics]) or "nothing"
