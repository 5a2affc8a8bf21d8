"""The commands of the experiments run, and write their results."""

from __future__ import annotations

import json
import os
import subprocess
import sys
from dataclasses import replace

import pytest

from helpers.paths import ROOT
from hybridcast.datasets import load_events
from hybridcast.learned.boosting import BoostingSettings
from hybridcast.learned.training.samples import Sampling


@pytest.mark.parametrize("module", ["ablation.sources", "early_fusion.early_or_late"])
def test_the_command_starts_as_the_makefile_does(module):
    pytest.importorskip("torch")
    paths = [str(ROOT / "notebooks" / "experiments"), *filter(None, [os.environ.get("PYTHONPATH")])]
    environment = {**os.environ, "PYTHONPATH": os.pathsep.join(paths)}
    command = [sys.executable, "-m", module, "--help"]
    shown = subprocess.run(command, capture_output=True, text=True, check=True, env=environment, cwd=ROOT, timeout=120)
    assert shown.stdout.startswith(f"usage: python -m {module}")
    assert f"PYTHONPATH=notebooks/experiments $(BIN)/python -m {module}" in (ROOT / "Makefile").read_text()


def test_sources_are_evaluated_and_written(archive, model_folder, real, tmp_path, monkeypatch, capsys):
    from ablation import gauges, pseudo_nwp, sources, wind

    real("openmrg/20150827/openMRG_example_rad.nc")
    real("meteonet_wind/**/U/*")
    events = load_events(archive)
    monkeypatch.setattr(sources, "load_events", lambda: events)
    monkeypatch.setattr(
        sources, "train_without", lambda events, regions, *args, **kw: dict.fromkeys(regions, model_folder)
    )
    monkeypatch.setattr(gauges, "GAUGE_SETS", (gauges.GAUGE_SETS[1],))
    monkeypatch.setattr(wind, "PATCHES", wind.PATCHES[1:])
    monkeypatch.setattr(pseudo_nwp, "LEAD_HOURS", 1)
    output = tmp_path / "sources.json"
    arguments = ["--cases", "1", "--gauge-cases", "1", "--workers", "1", "--work", tmp_path, "--output", output]
    sources.main(["--only", events[0].name, *map(str, arguments)])
    found = json.loads(output.read_text())
    assert set(found["pseudo_nwp"]) == {"good", "typical", "poor"}
    assert found["pseudo_nwp"]["good"]["lead_times_min"] == [30, 60]
    assert found["gauges"]["together"]["issue_times"] == 1
    assert list(found["wind"]["patches"]) == list(wind.PATCHES)
    text = output.with_suffix(".md").read_text()
    assert text.startswith("# Gain from other sources\n")
    assert all(f"\n## {title}\n" in text for title in ("Pseudo-NWP", "Gauges", "NWP wind"))
    assert "hybridcast, radar and pseudo-NWP good" in text
    assert f"wrote {output}" in capsys.readouterr().out
    with pytest.raises(SystemExit, match="--only atlantis: choose among event-0a"):
        sources.main(["--only", "atlantis"])


def test_early_and_late_fusion_are_compared_and_written(archive, tmp_path, monkeypatch):
    pytest.importorskip("torch")
    from early_fusion import early_or_late as script
    from early_fusion.attention import AttentionSettings

    settings = script.TrainingSettings(boosting=BoostingSettings(trees=4, leaves=4, min_rows=50, threads=1))
    network = AttentionSettings(width=8, layers=1, steps=4, batch=64, check_every=2)
    monkeypatch.setattr(script, "SAMPLING", Sampling(leads=(30, 60), cells=80, cases=2))
    monkeypatch.setattr(script, "TrainingSettings", lambda **given: replace(settings, **given))
    monkeypatch.setattr(script, "NETWORKS", {"early": network})
    monkeypatch.setattr(script, "RESAMPLES", 10)
    output = tmp_path / "early_or_late.json"
    arguments = ["--events", archive, "--work", tmp_path / "work", "--folds", 3, "--output", output]
    script.main([*map(str, arguments), "--group", "0"])
    assert not output.exists()
    script.main([*map(str, arguments)])
    found = json.loads(output.read_text())
    assert found["about"]["events"] == 6
    assert set(found) == {"about", *script.TITLES}
    scores = found["inside, radar as it is"]["scores"]["both"]["early, calibrated"]
    assert all(0 <= value < 1 for value in scores["Brier 1"])
    text = output.with_suffix(".md").read_text()
    assert text.startswith("# Early or late fusion?\n")
    assert "| both | 1 mm/h |" in text
