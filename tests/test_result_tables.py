"""Tables of README and results are those of the files of results; the history of speed reads every form."""

from __future__ import annotations

import json
from importlib.util import module_from_spec, spec_from_file_location

import pytest

from helpers.paths import ROOT

NOTEBOOKS = ROOT / "notebooks"


def load(name: str):
    """Import a script of the folder of notebooks."""
    spec = spec_from_file_location(name, NOTEBOOKS / f"{name}.py")
    module = module_from_spec(spec)
    spec.loader.exec_module(module)
    return module


def between_marks(page: str, name: str) -> str:
    text = (ROOT / page).read_text(encoding="utf-8")
    return text.partition(f"<!-- {name} -->\n")[2].partition(f"\n<!-- /{name} -->")[0]


def test_tables_of_the_trained_model_are_those_of_the_evaluation():
    evaluation = load("evaluation")
    names = ("evaluation", "evaluation_taasrad", "evaluation_steps")
    found, alpine, steps = (json.loads((NOTEBOOKS / f"{name}.json").read_text()) for name in names)
    assert between_marks("README.md", "summary") == evaluation.format_summary(found)
    assert between_marks("notebooks/results/trained_model.md", "evaluation") == evaluation.format_section(found, steps)
    assert between_marks("notebooks/results/trained_model.md", "taasrad") == evaluation.format_taasrad(alpine)


def test_the_table_of_the_readme_has_five_rows_with_intervals():
    rows = between_marks("README.md", "summary").splitlines()[4:]
    assert len(rows) == 5
    assert [row.count("[") for row in rows] == [6, 6, 0, 6, 6]


@pytest.mark.parametrize(
    "result",
    [
        {"about": {"date": "2024-06-01", "load": 0.2}, "motion": [{"what": "", "how": "", "ms": 0.0}]},
        {"about": "2024-06-01, x86_64, 2 threads, load 0.2, medians of 5", "rows": []},
    ],
)
def test_the_history_of_speed_reads_every_form(result):
    history = load("speed_history")
    what, ours, other = history.COMPARISONS["motion"]
    rows = next(value for value in result.values() if isinstance(value, list))
    rows += [{"what": what, "how": ours, "ms": 40.0}, {"what": what, "how": other, "ms": 6000.0}]
    assert history.format_row("abc", result) == "| 2024-06-01 | `abc` | 0.2 | 40 | 150 | - | - | - | - |"
