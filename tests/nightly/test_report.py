"""The pages of the nightly report, of simulated nights: what they say, that they stand alone, that they escape."""

from __future__ import annotations

import json
import re
from html.parser import HTMLParser

import numpy as np
import pytest
import xarray as xr

from helpers import nightly_synthetic as nights
from helpers import synthetic
from hybridcast.core.forecast_schema import add_ensemble
from hybridcast.errors import InputError
from hybridcast.nightly.alarm import AlarmSettings, judge
from hybridcast.nightly.report import write_index, write_night_page
from hybridcast.nightly.report.formatting import format_count, format_percent, format_score
from hybridcast.nightly.report.maps import draw_worst_cases
from hybridcast.nightly.report.tables import tabulate_members
from hybridcast.verification import scores
from hybridcast.verification.members import BLOCKS
from hybridcast.verification.significance import paired_difference
from hybridcast.verification.statistics import FSS_SCALES, compute_statistics

TONIGHT = 7
ODD = "<b>x</b> & co"
FEW = AlarmSettings(min_nights=5)
#: Tags that are not closed.
VOID = {"meta", "link", "img", "br", "input", "hr"}


class Page(HTMLParser):
    """What the tests ask a page for; refuses tags that do not close."""

    def __init__(self, text):
        super().__init__()
        self.open, self.text, self.links, self.ids, self.rows = [], [], [], [], []
        self.policy = ""
        self.feed(text)
        assert not self.open, f"left open: {self.open}"

    def handle_starttag(self, tag, attrs):
        given = dict(attrs)
        self.links += [(tag, given[name]) for name in ("href", "src", "action", "data") if name in given]
        self.ids += [given["id"]] if "id" in given else []
        if given.get("http-equiv") == "Content-Security-Policy":
            self.policy = given["content"]
        if tag == "tr":
            self.rows.append([])
        if tag in {"td", "th"} and self.rows:
            self.rows[-1].append("")
        if tag not in VOID:
            self.open.append(tag)

    def handle_startendtag(self, tag, attrs):
        self.handle_starttag(tag, attrs)
        if tag not in VOID:
            self.open.pop()

    def handle_endtag(self, tag):
        assert self.open, f"closed and not open: {tag}"
        assert self.open.pop() == tag, tag

    def handle_data(self, data):
        if {"script", "style"} & set(self.open):
            return
        self.text.append(data)
        if {"td", "th"} & set(self.open) and self.rows and self.rows[-1]:
            self.rows[-1][-1] += data

    def row(self, name):
        return next(" ".join(" ".join(row).split()) for row in self.rows if row and row[0].strip() == name)

    @property
    def words(self):
        return " ".join(" ".join(self.text).split())


@pytest.fixture(scope="module")
def history():
    return nights.history(range(TONIGHT), ("north", ODD))


@pytest.fixture(scope="module")
def written(history, tmp_path_factory):
    """Write a night with an alarm, missing files, a dry region and one that failed: folder, page, judgements."""
    folder = tmp_path_factory.mktemp("reports")
    missing = ("2 of 288 radar files are missing (02:05, 02:10)", "<script>alert(1)</script> cannot be read")
    bad = nights.day_statistics(TONIGHT, worse=12)
    tonight = [
        nights.night(
            TONIGHT, "north", bad, state="partial", done=3, notes=missing, worst=nights.worst(TONIGHT), hourly=bad
        ),
        nights.night(TONIGHT, "south", nights.day_statistics(TONIGHT, 1, rain=0.0), state="dry"),
        nights.night(TONIGHT, ODD, nights.day_statistics(TONIGHT, 1)),
        nights.night(TONIGHT, "west", None, notes=("ReadError: the disk is full",)),
    ]
    judged = judge(tonight, history, FEW, baseline="advection")
    path = write_night_page(tonight, history, folder, baseline="advection", judgements=judged, settings=FEW)
    return folder, path, judged


@pytest.fixture(scope="module")
def page(written):
    return Page(written[1].read_text())


def test_a_night_gives_its_page_its_entry_and_the_index(written):
    folder, path, _ = written
    assert path == folder / f"{nights.date(TONIGHT)}.html"
    names = {one.name for one in folder.iterdir()}
    assert names == {path.name, path.with_suffix(".json").name, "index.html"}


def test_a_page_stands_alone(written, page):
    text = written[1].read_text()
    assert len(text) < 2e6
    assert not re.search(r"https?:|//[\w.]", re.sub(r'"data:[^"]*"|// [A-Z][^\n]*', "", text))
    outside = [link for tag, link in page.links if not re.match(r"#|data:|index\.html$", link)]
    assert outside == []
    assert page.policy.startswith("default-src 'none'")


def test_no_two_things_have_the_same_name_and_links_lead_somewhere(page):
    assert len(page.ids) == len(set(page.ids))
    assert {link[1:] for _, link in page.links if link.startswith("#")} <= set(page.ids)


def test_names_and_notes_are_escaped(written, page):
    text = written[1].read_text()
    assert "<b>x</b>" not in text
    assert "<script>alert" not in text
    assert ODD in page.words
    assert "<script>alert(1)</script> cannot be read" in page.words


def test_the_headline_says_what_is_broken_and_how_good_it_was(page):
    assert "Skill alarm: north; failed: west; only in part: north" in page.words
    assert "3 of 4 regions verified, 11 of 16 issue times." in page.words
    assert "above advection in 1 of 2 regions." in page.words
    assert "advection did not fall, so look at blend first." in page.words
    assert "south: not judged: too little rain: 1 mm/h or more on 0 % of the points" in page.words
    assert "2 of 288 radar files are missing (02:05, 02:10)" in page.words
    assert "ReadError: the disk is full" in page.words


def test_the_overview_has_the_numbers_of_the_statistics(page, written):
    judged = written[2][2]
    at = {"lead_time": nights.LEADS[2], "threshold": 1.0, "scale": 20.0}
    statistics = nights.day_statistics(TONIGHT, 1).sel(at)
    fss = scores.fractions_skill_score(statistics)
    row = page.row(ODD)
    assert f"{float(fss.sel(nowcaster='blend')):.2f} {float(fss.sel(nowcaster='advection')):.2f}" in row
    assert f"{judged.alarm_line:.2f} 7 11.5" in row
    assert page.row("west").startswith("west ✖\ufe0e failed ? not judged 0 of 4 – –")
    assert page.row("south").startswith("south ○ dry ? not judged 4 of 4 0 % –")


def test_the_scorecard_is_the_paired_difference_over_the_days(written, page, history):
    both = xr.concat(
        [
            history.sel(region=ODD, drop=True),
            nights.day_statistics(TONIGHT, 1).expand_dims(date=[nights.date(TONIGHT)]),
        ],
        "date",
    )
    at = {"lead_time": nights.LEADS[2], "threshold": 5.0, "scale": 20.0}
    fss = scores.fractions_skill_score(both.sel(at)).rename(date="event")
    days = fss["event"].values.tolist()
    mine, base = (fss.sel(nowcaster=name).drop_vars("event") for name in ("blend", "advection"))
    found = paired_difference(mine, base, days=days)
    relative, low, high = (format_percent(found[name]) for name in ("relative", "relative_low", "relative_high"))
    rows = [row for row in page.rows if row[:3] == ["blend", "60 min", "5 mm/h"] and relative in row]
    assert len(rows) == 1
    assert f"{low} to {high}" in rows[0]
    assert "▲ win" in rows[0]
    assert str(found.verdict.item()) == "win"
    assert " ".join(f"▲ win {relative} {low} to {high} 8 nights tonight".split()) in page.words


def test_few_days_resolve_nothing(history, tmp_path):
    few = history.isel(date=slice(0, 3))
    tonight = [nights.night(3, "north", nights.day_statistics(3))]
    judged = judge(tonight, few, baseline="advection")
    page = Page(write_night_page(tonight, few, tmp_path, baseline="advection", judgements=judged).read_text())
    cards = [row for row in page.rows if row and re.match(r"\d+ mintonight", row[0].replace(" ", ""))]
    cells = [" ".join(cell.split()) for row in page.rows for cell in row if "tonight 0." in cell]
    assert len(cells) >= 18
    assert all(cell.startswith("· not resolved") and "4 nights" in cell for cell in cells), cards
    assert "Fewer than five days: nothing is resolved" in page.words
    assert "No band: 3 earlier nights with rain, 5 are needed." in page.words
    assert "18 not resolved" in page.words


def test_a_dry_night_has_no_figures_of_skill_and_no_nan(page):
    assert "Not defined tonight: too little rain at this threshold." in page.words
    assert "None: no case with enough rain to be judged." in page.words
    assert not re.search(r"\bnan\b", page.words, re.IGNORECASE)


def test_every_figure_says_what_it_rests_on(page):
    assert "Band: 95 % range of 7 earlier nights with rain." in page.words
    assert re.search(
        r"Tonight at 60 min: 4 issue times, 11\.5\sk points, [\d.]+(\sk)? of them wet\.", " ".join(page.text)
    )
    assert "8 nights verified within 30 days" in page.words
    assert re.search(r"points by probability of blend, [\d.]+\sk in all", " ".join(page.text))
    assert page.words.count("No forecast of this night gives probabilities other than 0 and 1.") == 1  # the dry one


def test_without_probabilities_the_page_says_so(history, tmp_path):
    plain = nights.day_statistics(TONIGHT).sel(nowcaster=["advection", "persistence"])
    tonight = [nights.night(TONIGHT, "north", plain, nowcasters=("persistence", "advection"))]
    judged = judge(tonight, history, FEW, baseline="advection")
    page = Page(
        write_night_page(tonight, history, tmp_path, baseline="advection", judgements=judged, settings=FEW).read_text()
    )
    assert judged[0].nowcaster == "persistence"
    assert "No forecast of this night gives probabilities other than 0 and 1." in page.words


def test_members_have_a_table_if_there_are_any(history, tmp_path):
    made, observed = nights.forecasts(TONIGHT, nights.MODELS)
    noise = np.random.default_rng(0).lognormal(0, 0.5, (5, *made["blend"].precipitation_rate.shape))
    ensemble = add_ensemble(made["blend"], (noise * made["blend"].precipitation_rate.values).astype(np.float32))
    made |= {"blend": ensemble}
    total = xr.concat(
        [compute_statistics(one, observed, scales=FSS_SCALES, blocks=BLOCKS) for one in made.values()],
        xr.Variable("nowcaster", list(made)),
        join="outer",
        fill_value=0.0,
    )
    tonight = [nights.night(TONIGHT, "north", total, hourly=total)]
    judged = judge(tonight, history, FEW, baseline="advection")
    path = write_night_page(tonight, history, tmp_path, baseline="advection", judgements=judged, settings=FEW)
    words = Page(path.read_text()).words
    assert "Members, by lead time" in words
    assert "Members: rain of whole hours" in words
    assert "fair CRPS (mm/h), 20 km" in words
    shown = f"{float(scores.fair_crps(total).sel(nowcaster='blend', block=20.0)[0]):.3g}"
    assert shown in words
    table = tabulate_members(total, "Members")
    assert {row[0].text for row in table.rows} == {"blend"}
    assert tabulate_members(nights.day_statistics(TONIGHT), "Members") is None


@pytest.mark.parametrize("only", ["advection", "blend"])
def test_a_single_nowcaster_is_no_hindrance(history, tmp_path, only):
    tonight = [nights.night(TONIGHT, "north", nights.day_statistics(TONIGHT).sel(nowcaster=[only]), nowcasters=(only,))]
    judged = judge(tonight, history, FEW, baseline="advection")
    page = Page(
        write_night_page(tonight, history, tmp_path, baseline="advection", judgements=judged, settings=FEW).read_text()
    )
    assert "1 of 1 region verified" in page.words
    assert "Scorecard" not in page.words


def test_another_score_leads_the_page(history, tmp_path):
    settings = AlarmSettings(score="correlation", min_nights=5, nowcaster="persistence", lead_time="30min")
    tonight = [nights.night(TONIGHT, "north", nights.day_statistics(TONIGHT))]
    judged = judge(tonight, history, settings, baseline="advection")
    path = write_night_page(tonight, history, tmp_path, baseline="advection", judgements=judged, settings=settings)
    page = Page(path.read_text())
    assert "correlation at 30 min: persistence" in page.words
    assert "Scorecard: correlation, against advection" in page.words
    assert "all rates" in page.words


def test_maps_tell_unknown_from_dry():
    case = nights.worst(TONIGHT)[1]
    pair = draw_worst_cases((case,))[0]
    share = float(case.observed.notnull().mean())
    assert f"observed: {100 * share:.0f} % of the map is known" in pair.observed.description
    assert pair.extent == "120 km by 96 km, north is up"
    assert pair.score == "0.20"
    assert pair.observed.source.startswith("data:image/png;base64,")


def test_a_map_has_north_up_and_the_colours_of_the_scale():
    import base64
    import io

    from PIL import Image

    from hybridcast.plots import rain_colours

    field = synthetic.rain((20, 30), frames=1, y_down=False).isel(time=0).copy()
    field[:] = 0.0
    field[0, 0] = np.nan  # the south-west corner, as y rises from row to row
    field[-1, -1] = 30.0
    case = nights.worst(TONIGHT)[0]
    pair = draw_worst_cases((type(case)(case.issue_time, case.lead_time, "blend", 0.5, field, field),))[0]
    image = Image.open(io.BytesIO(base64.b64decode(pair.observed.source.split(",")[1]))).convert("RGB")
    assert image.size == (30, 20)
    assert image.getpixel((0, 19)) == tuple(rain_colours(np.array(np.nan))[:3].tolist())
    assert image.getpixel((29, 0)) == tuple(rain_colours(np.array(30.0))[:3].tolist())
    assert image.getpixel((10, 10)) == (255, 255, 255)


def test_the_index_lists_the_nights_latest_first_and_names_what_it_cannot_read(written, history, tmp_path):
    folder, _, _ = written
    (tmp_path / f"{nights.date(TONIGHT)}.json").write_bytes((folder / f"{nights.date(TONIGHT)}.json").read_bytes())
    good = [nights.night(TONIGHT + 1, ODD, nights.day_statistics(TONIGHT, 1))]
    judged = judge(good, history, FEW, baseline="advection")
    write_night_page(good, history, tmp_path, baseline="advection", judgements=judged, settings=FEW)
    (tmp_path / "2020-05-01.json").write_text("{")
    (tmp_path / f"{nights.date(TONIGHT)}.alarm.json").write_text("{}")
    page = Page(write_index(tmp_path).read_text())
    assert [row[0] for row in page.rows[1:]] == [nights.date(TONIGHT + 1), nights.date(TONIGHT)]
    assert page.rows[1][1] == "✔\ufe0e Nothing is broken, no skill alarm"
    assert page.rows[2][2] == "▼ north"
    assert ODD in page.rows[1][3]
    assert "Could not be read: 2020-05-01.json" in page.words
    assert ("a", f"{nights.date(TONIGHT)}.html") in page.links


def test_the_entry_is_plain_json(written):
    _, path, judged = written
    entry = json.loads(path.with_suffix(".json").read_text())
    assert entry["alarm"] is True
    assert entry["status"] == "bad"
    assert [one["alarm"] for one in entry["regions"]] == ["alarm", "not judged", "good", "not judged"]
    assert entry["regions"][1]["value"] is None
    assert entry["regions"][2]["value"] == pytest.approx(judged[2].value, abs=1e-6)


def test_a_night_written_again_replaces_its_page(written, history, tmp_path):
    tonight = [nights.night(TONIGHT, "north", nights.day_statistics(TONIGHT))]
    judged = judge(tonight, history, FEW, baseline="advection")
    (tmp_path / f"{nights.date(TONIGHT)}.html").write_text("of before")
    write_night_page(tonight, history, tmp_path, baseline="advection", judgements=judged, settings=FEW)
    assert "of before" not in (tmp_path / f"{nights.date(TONIGHT)}.html").read_text()
    assert len(list(tmp_path.iterdir())) == 3
    assert len(Page((tmp_path / "index.html").read_text()).rows) == 2


def test_nights_of_two_dates_and_judgements_of_others_are_refused(history, tmp_path):
    two = [nights.night(TONIGHT, "north"), nights.night(TONIGHT + 1, "south")]
    judged = judge(two, history, FEW, baseline="advection")
    with pytest.raises(InputError, match="2020-06-08', '2020-06-09"):
        write_night_page(two, history, tmp_path, baseline="advection", judgements=judged)
    with pytest.raises(InputError, match=r"judgements of \['south'\]"):
        write_night_page(two[:1], history, tmp_path, baseline="advection", judgements=judged[1:])
    with pytest.raises(InputError, match=r"dates \[\]"):
        write_night_page([], history, tmp_path, baseline="advection", judgements=[])


def test_a_history_without_the_region_is_no_hindrance(history, tmp_path):
    tonight = [nights.night(TONIGHT, "new", nights.day_statistics(TONIGHT))]
    judged = judge(tonight, history, FEW, baseline="advection")
    page = Page(
        write_night_page(tonight, history, tmp_path, baseline="advection", judgements=judged, settings=FEW).read_text()
    )
    assert "1 night verified within 30 days" in page.words


def test_numbers_in_words():
    assert [" ".join(format_count(n).split()) for n in (0, 999, 1000, 12345, 99960, 999600, 2.64e6)] == [
        "0", "999", "1 k", "12.3 k", "100 k", "1 M", "2.64 M",
    ]  # fmt: skip
    assert [" ".join(format_percent(n).split()) for n in (0.0931, -0.5, 0.0)] == ["+9.3 %", "-50 %", "+0 %"]
    assert format_percent(np.nan) == format_score(np.nan) == "–"
