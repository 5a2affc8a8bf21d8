"""Files of weather services, written after their descriptions: places, units, ends of intervals, missing values."""

from __future__ import annotations

import gzip
import shutil
import zipfile

import numpy as np
import pytest
import xarray as xr

from hybridcast.errors import InputWarning, ReadError
from hybridcast.stations import open_stations

# --- MeteoSwiss -----------------------------------------------------------------------------------------------

SMN = "station_abbr;reference_timestamp;tre200s0;ure200s0;pp0qffs0;dkl010z0;rre150z0;htoauts0\n"
SMN_PLACES = (
    "station_abbr;station_name;station_canton;station_wigos_id;station_height_masl;station_coordinates_lv95_east;"
    "station_coordinates_lv95_north;station_coordinates_wgs84_lat;station_coordinates_wgs84_lon\n"
    "ABO;Adelboden;BE;0-20000-0-06735;1321.0;2609350.0;1148939.0;46.491703;7.560703\n"
    "BER;Bern / Zollikofen;BE;0-20000-0-06631;552.8;2601934.0;1204410.0;46.990744;7.464061\n"
    "SMA;Zürich / Fluntern;ZH;0-20000-0-06660;556.0;2685117.0;1248066.0;47.377925;8.565742\n"
)


@pytest.fixture
def swiss(tmp_path):
    """Write ten minutes of three stations with the file of places, in Windows-1252; return the files of reports."""
    for name, rain in (("ber", ("0.1", "", "1.3")), ("sma", ("0", "0", "2"))):
        rows = [f"{name.upper()};01.02.2024 00:{10 * k:02d};5.5;80;1015.2;270;{v};\r\n" for k, v in enumerate(rain)]
        (tmp_path / f"ogd-smn_{name}_t_now.csv").write_bytes((SMN.replace("\n", "\r\n") + "".join(rows)).encode())
    (tmp_path / "ogd-smn_meta_stations.csv").write_bytes(SMN_PLACES.encode("cp1252"))
    return sorted(tmp_path.glob("*_t_now.csv"))


def test_meteoswiss_ten_minutes(swiss):
    made = open_stations(swiss)
    assert made.attrs["format"] == "meteoswiss-csv"
    assert made.attrs["interval_minutes"] == 10
    assert [str(time)[:16] for time in made.time.values] == [f"2024-02-01T00:{m:02d}" for m in (0, 10, 20)]
    np.testing.assert_allclose(made.precipitation_rate.values, [[0.6, np.nan, 7.8], [0, 0, 12]], rtol=1e-6)
    bern = made.sel(station="BER")
    assert (float(bern.latitude), float(bern.longitude), float(bern.altitude)) == (46.990744, 7.464061, 552.8)
    assert float(bern.air_temperature[0]) == pytest.approx(278.65)
    assert float(bern.relative_humidity[0]) == pytest.approx(0.8)
    assert float(bern.air_pressure_at_mean_sea_level[0]) == pytest.approx(101520)


def test_meteoswiss_places_lie_beside_or_are_given(swiss, tmp_path):
    away = tmp_path / "away"
    away.mkdir()
    shutil.copy(swiss[0], away)
    with pytest.raises(ReadError, match="no file with the places of BER"):
        open_stations(away / swiss[0].name)
    made = open_stations([away / swiss[0].name, tmp_path / "ogd-smn_meta_stations.csv"])
    assert float(made.latitude[0]) == 46.990744


def test_meteoswiss_hours_end_at_their_times_since_2018(swiss, tmp_path):
    path = tmp_path / "ogd-smn_ber_h_historical_2010-2019.csv"
    rows = "".join(f"BER;{day} 0{h}:00;{h}.5\n" for day in ("01.06.2017", "01.06.2018") for h in (1, 2))
    path.write_text("station_abbr;reference_timestamp;rre150h0\n" + rows)
    with pytest.warns(InputWarning, match="left out 2 hours before 2018"):
        made = open_stations(path)
    assert made.attrs["interval_minutes"] == 60
    assert str(made.time.values[0])[:16] == "2018-06-01T01:00"
    assert made.precipitation_rate.values.tolist() == [[1.5, 2.5]]


def test_meteoswiss_days_and_stations_without_rain_are_refused(swiss, tmp_path):
    path = tmp_path / "ogd-smn_ber_d_recent.csv"
    path.write_text("station_abbr;reference_timestamp;rre150d0\nBER;01.06.2024 00:00;12.5\n")
    with pytest.raises(ReadError, match=r"no rain of 10 minutes or an hour .*Take the files _t_ or _h_"):
        open_stations(path)


def test_meteoswiss_latest_values(swiss, tmp_path):
    path = tmp_path / "VQHA80.csv"
    path.write_text(
        "Station/Location;Date;tre200s0;rre150z0;sre000z0;ure200s0\n"
        "ABO;202608270550;18.20;0.30;0.00;40\nSMA;202608270550;16.10;-;-;84.5\n"
    )
    made = open_stations(path)
    assert str(made.time.values[0])[:16] == "2026-08-27T05:50"
    np.testing.assert_allclose(made.precipitation_rate.values, [[1.8], [np.nan]], rtol=1e-6)


# --- DWD ------------------------------------------------------------------------------------------------------

DWD_PLACES = (
    "Stations_id von_datum bis_datum Stationshoehe geoBreite geoLaenge Stationsname Bundesland Abgabe\n"
    "----------- --------- --------- ------------- --------- --------- ------------------------ ---------- ------\n"
    "00044 20070209 20260401             44     52.9336    8.2370 Großenkneten          Niedersachsen      Frei\n"
    "02667 19571101 20260401             92     50.8645    7.1575 Köln-Bonn             Nordrhein-Westfalen Frei\n"
    "13667 269 48.0006 7.8342 Freiburg-Mitte\n"
)


def dwd(path, column, rows, station="2667"):
    """Write a file of the CDC, with its blanks."""
    head = f"STATIONS_ID;MESS_DATUM;  QN;{column};RWS_IND_10;eor\r\n"
    body = [f"{station:>11};{time};    3;{value:>7};   1;eor\r\n" for time, value in rows]
    path.write_bytes((head + "".join(body)).encode("latin-1"))
    return path


@pytest.mark.parametrize(
    ("column", "times", "minutes"),
    [
        ("RWS_10", ("202406011200", "202406011210", "202406011220"), 10),
        ("RS_05", ("202406011200", "202406011205", "202406011210"), 5),
        ("RS_01", ("202406011200", "202406011201", "202406011202"), 1),
        ("  R1", ("2024060112", "2024060113", "2024060114"), 60),
    ],
)
def test_dwd(column, times, minutes, tmp_path):
    path = dwd(tmp_path / "produkt_02667.txt", column, zip(times, ("0.13", "-999", "0.00"), strict=True))
    (tmp_path / "zehn_min_rr_Beschreibung_Stationen.txt").write_bytes(DWD_PLACES.encode("latin-1"))
    made = open_stations(path)
    assert made.attrs["format"] == "dwd-cdc"
    assert made.attrs["interval_minutes"] == minutes
    assert str(made.time.values[0])[:16] == "2024-06-01T12:00"
    np.testing.assert_allclose(made.precipitation_rate.values, [[0.13 * 60 / minutes, np.nan, 0]], rtol=1e-6)
    assert [float(made[name][0]) for name in ("latitude", "longitude", "altitude")] == [50.8645, 7.1575, 92]
    assert "impossible_values" not in made.attrs


def test_dwd_times_before_2000_are_in_cet(tmp_path):
    path = dwd(tmp_path / "produkt.txt", "RWS_10", [("199312010010", "1"), ("200001010010", "1")])
    (tmp_path / "zehn_min_rr_Beschreibung_Stationen.txt").write_bytes(DWD_PLACES.encode("latin-1"))
    assert [str(time)[:16] for time in open_stations(path).time.values] == ["1993-11-30T23:10", "2000-01-01T00:10"]


def test_dwd_places_of_the_same_zip_file_and_without_days(tmp_path):
    dwd(tmp_path / "produkt.txt", "RWS_10", [("202406011200", "1")], station="433")
    places = tmp_path / "Metadaten_Geographie_00433.txt"
    places.write_bytes(
        "Stations_id;Stationshoehe;Geogr.Breite;Geogr.Laenge;von_datum;bis_datum;Stationsname\r\n"
        "        433;   51.00; 52.4719;13.4191;19570501;19700909;Berlin-Tempelhof\r\n"
        "        433;   47.74; 52.4676;13.4020;20250923;        ;Berlin-Tempelhof\r\n".encode("latin-1")
    )
    (tmp_path / "Metadaten_Parameter_00433.txt").write_text("Stations_ID;Von_Datum;Parameter\n433;19570501;RWS_10\n")
    made = open_stations(str(tmp_path / "*.txt"))
    assert (float(made.latitude[0]), float(made.longitude[0])) == (52.4676, 13.4020)
    other = dwd(tmp_path / "other.txt", "RWS_10", [("202406011200", "1")], station="13667")
    (tmp_path / "list.txt").write_bytes(DWD_PLACES.encode("latin-1"))
    assert float(open_stations([other, tmp_path / "list.txt"]).longitude[0]) == 7.8342


def test_dwd_zip_file_as_it_is_published(tmp_path):
    product = dwd(tmp_path / "produkt_rr_stunde_02667.txt", "  R1", [("2024060112", "0.5"), ("2024060113", "-999")])
    with zipfile.ZipFile(tmp_path / "stundenwerte_RR_02667_akt.zip", "w") as file:
        file.write(product, product.name)
        file.writestr(
            "Metadaten_Geographie_02667.txt",
            "Stations_id;Stationshoehe;Geogr.Breite;Geogr.Laenge;von_datum;bis_datum;Stationsname\r\n"
            "       2667;   92.00; 50.8645; 7.1575;19571101;        ;Köln-Bonn\r\n".encode("latin-1"),
        )
        file.writestr("Metadaten_Parameter_rr_stunde_02667.txt", "Stations_ID;Von_Datum;Parameter\r\n2667;1995;R1\r\n")
        file.writestr("Metadaten_Parameter_rr_stunde_02667.html", "<html></html>")
    product.unlink()
    made = open_stations(tmp_path / "stundenwerte_RR_02667_akt.zip")
    np.testing.assert_array_equal(made.precipitation_rate.values, np.float32([[0.5, np.nan]]))
    assert float(made.latitude[0]) == 50.8645
    assert "unreadable_files" not in made.attrs


def test_dwd_temperatures_are_no_rain(tmp_path):
    path = tmp_path / "produkt_zehn_min_tu.txt"
    path.write_text("STATIONS_ID;MESS_DATUM;  QN;PP_10;TT_10;eor\n 44;202406011200;3;-999;7.4;eor\n")
    with pytest.raises(ReadError, match="no rain of an hour or less"):
        open_stations(path)


# --- Météo-France ---------------------------------------------------------------------------------------------


def test_meteofrance_hours(tmp_path):
    path = tmp_path / "H_29_latest-2025-2026.csv.gz"
    text = (
        "NUM_POSTE;NOM_USUEL;LAT;LON;ALTI;AAAAMMJJHH;RR1;QRR1;DRR1;QDRR1;FF;QFF;DD;QDD;T;QT;U;QU\n"
        "29075001;BREST-GUIPAVAS;48.444167;-4.412;94;2026091712;0.4;1;;;6.2;1;250;1;15.1;1;88;1\n"
        "29075001;BREST-GUIPAVAS;48.444167;-4.412;94;2026091713;8.0;2;;;7.7;9;260;9;15.0;1;90;1\n"
        "29075001;BREST-GUIPAVAS;48.444167;-4.412;94;2026091714;;;;;7.7;9;260;9;;;;\n"
    )
    path.write_bytes(gzip.compress(text.encode()))
    made = open_stations(path)
    assert made.attrs["format"] == "meteofrance-csv"
    assert made.attrs["interval_minutes"] == 60
    assert str(made.time.values[0])[:16] == "2026-09-17T12:00"
    np.testing.assert_allclose(made.precipitation_rate.values, np.float32([[0.4, np.nan, np.nan]]))
    assert float(made.air_temperature[0, 0]) == pytest.approx(288.25)
    assert float(made.wind_speed[0, 1]) == pytest.approx(7.7)
    assert float(made.longitude[0]) == -4.412


def test_meteofrance_six_minutes(tmp_path):
    path = tmp_path / "MN_01_2000-2009.csv"
    path.write_text(
        "NUM_POSTE;NOM_USUEL;LAT;LON;ALTI;AAAAMMJJHHMN;RR;QRR\n"
        " 01014002;ARBENT;46.278167;5.669000;534;200507010000;0.200;9\n"
        " 01014002;ARBENT;46.278167;5.669000;534;200507010006;2.600;9\n"
        " 01014002;ARBENT;46.278167;5.669000;534;200507010012;;\n"
    )
    made = open_stations(path)
    assert made.station.values.tolist() == ["01014002"]
    assert made.attrs["interval_minutes"] == 6
    np.testing.assert_allclose(made.precipitation_rate.values, [[2.0, 26.0, np.nan]], rtol=1e-6)


# --- IEM ------------------------------------------------------------------------------------------------------


def test_iem_rain_is_the_sum_of_an_hour_in_hourly_reports_only(tmp_path):
    # the reports of KLGA on 7 June 2013 as shown at earthscience.stackexchange.com, question 10598: the rain since the
    # last report at :51, and special reports between
    path = tmp_path / "asos.csv"
    rows = [
        ("15:51", "0.10"),
        ("16:23", "0.11"),
        ("16:43", "0.19"),
        ("16:51", "0.21"),
        ("17:35", "0.18"),
        ("17:51", "0.22"),
    ]
    rows += [("18:51", "T"), ("19:51", "M"), ("21:51", "0.05")]
    body = "".join(f"LGA,2013-06-07 {time},-73.88,40.78,3.00,{rain}\n" for time, rain in rows)
    path.write_text(
        "#DEBUG: Format Typ    -> comma\n#DEBUG: Time Period\nstation,valid,lon,lat,elevation,p01i\n" + body
    )
    made = open_stations(path)
    assert made.attrs["format"] == "iem-csv"
    assert made.attrs["interval_minutes"] == 60
    assert [str(time)[11:16] for time in made.time.values] == ["16:51", "17:51", "18:51", "19:51"]
    np.testing.assert_allclose(made.precipitation_rate.values, [[0.21 * 25.4, 0.22 * 25.4, 0, np.nan]], rtol=1e-6)
    assert (float(made.latitude[0]), float(made.longitude[0])) == (40.78, -73.88)


def test_iem_stations_have_minutes_of_their_own(tmp_path):
    path = tmp_path / "asos.csv"
    body = "".join(
        f"{name},2024-06-01 {hour}:{minute},-90,40,{value}\n"
        for name, minute in (("AAA", 53), ("BBB", 56))
        for hour, value in ((12, "0.0001"), (13, "2.00"), (14, "1.00"))
    )
    path.write_text("station,valid,lon,lat,p01m\n" + body)
    made = open_stations(path)
    assert [str(time)[11:16] for time in made.time.values] == ["13:53", "13:56", "14:53", "14:56"]
    assert made.sel(station="BBB").precipitation_rate.dropna("time").values.tolist() == [2.0, 1.0]


def test_iem_reports_of_one_hour_do_not_say_since_when(tmp_path):
    path = tmp_path / "asos.csv"
    path.write_text("station,valid,lon,lat,p01m\nAAA,2024-06-01 12:10,-90,40,1.0\nAAA,2024-06-01 12:20,-90,40,2.0\n")
    with pytest.raises(ReadError, match="since the last one"):
        open_stations(path)


def test_iem_minutes(tmp_path):
    path = tmp_path / "asos1min.csv"
    body = "".join(f"DSM,DES MOINES,2024-06-01 12:{m:02d},0.0{m}\n" for m in range(4))
    path.write_text("station,station_name,valid(UTC),precip\n" + body)
    places = tmp_path / "stations.csv"
    places.write_text("station,lat,lon\nDSM,41.53,-93.66\n")
    made = open_stations([path, places])
    assert made.attrs["interval_minutes"] == 1
    np.testing.assert_allclose(made.precipitation_rate.values, [[0.254 * m * 60 for m in range(4)]], rtol=1e-6)


# --- damaged --------------------------------------------------------------------------------------------------


@pytest.mark.parametrize("change", ["cut", "header", "bytes", "rows"])
def test_damaged_files_are_refused_by_name(swiss, change):
    content = swiss[0].read_bytes()
    swiss[0].write_bytes(
        {
            "cut": content[:60],
            "header": content.split(b"\n")[0],
            "bytes": content.replace(b"01.02", b"\xff\x00.2"),
            "rows": content.replace(b";0.1;", b";0;1;7;"),
        }[change]
    )
    with pytest.raises(ReadError, match=r"ogd-smn_ber_t_now\.csv"):
        open_stations(swiss[0])


# --- KNMI -----------------------------------------------------------------------------------------------------

KNMI = """# SOURCE DATA: ROYAL NETHERLANDS METEOROLOGICAL INSTITUTE (KNMI)
# Comment: These time series are inhomogeneous because of station relocations
#
# STN      LON(east)   LAT(north)  ALT(m)      NAME
# 260      5.180       52.100      1.90        De Bilt
# 310      3.596       51.442      8.00        Vlissingen
#
# HH       : time (HH uur/hour, UT. 12 UT=13 MET, 14 MEZT. Hourly division 05 runs from 04.00 UT to 5.00 UT
# DR       : Precipitation duration (in 0.1 hour) during the hourly division
# RH       : Hourly precipitation amount (in 0.1 mm) (-1 for <0.05 mm)
#
# STN,YYYYMMDD,   HH,   DR,   RH
#
"""
KNMI_ROWS = "".join(
    f"  {station},{day},{hour:5d},    2,{rain:>5}\n"
    for station in (260, 310)
    for day, hour, rain in ((20240601, 23, "-1"), (20240601, 24, "12"), (20240602, 1, ""))
)


def test_knmi_hours_in_tenths_of_a_millimetre(tmp_path):
    path = tmp_path / "result.txt"
    path.write_text(KNMI + KNMI_ROWS)
    made = open_stations(path)
    assert made.attrs["format"] == "knmi-text"
    assert made.attrs["interval_minutes"] == 60
    assert [str(time)[:16] for time in made.time.values] == [
        "2024-06-01T23:00",
        "2024-06-02T00:00",
        "2024-06-02T01:00",
    ]
    np.testing.assert_allclose(made.precipitation_rate.values, [[0, 1.2, np.nan]] * 2, rtol=1e-6)
    assert "impossible_values" not in made.attrs
    vlissingen = made.sel(station="310")
    assert [float(vlissingen[name]) for name in ("latitude", "longitude", "altitude")] == [51.442, 3.596, 8.0]


def test_knmi_places_in_another_file_and_days(tmp_path):
    path, places = tmp_path / "uurgeg_260_2021-2030.txt", tmp_path / "stations.csv"
    path.write_text(
        "\n".join(line for line in KNMI.split("\n") if ".442" not in line and ".100" not in line) + KNMI_ROWS
    )
    with pytest.raises(ReadError, match="no file with the places of 260, 310"):
        open_stations(path)
    places.write_text("station,lat,lon\n260,52.1,5.18\n310,51.442,3.596\n")
    assert open_stations([path, places]).longitude.values.tolist() == [5.18, 3.596]
    path.write_text(KNMI.replace("   HH,", "") + "  260,20240601,    2,   12\n")
    with pytest.raises(ReadError, match=r"no column HH.*Take the hourly values"):
        open_stations(path)
    path.write_text(KNMI)
    with pytest.raises(ReadError, match="holds no row"):
        open_stations(path)


# --- SMHI -----------------------------------------------------------------------------------------------------

SMHI = (
    "\ufeffStationsnamn;Stationsnummer;Stationsnät;Mäthöjd (meter över marken)\r\n"
    "Göteborg A;71420;SMHIs stationsnät;2.0\r\n\r\n"
    "Parameternamn;Beskrivning;Enhet\r\nNederbördsmängd;summa 1 timme, 1 gång/tim;millimeter\r\n\r\n"
    "Tidsperiod (fr.o.m);Tidsperiod (t.o.m);Höjd (meter över havet);Latitud (decimalgrader);"
    "Longitud (decimalgrader)\r\n"
    "1961-01-01 00:00:00;2016-10-04 06:00:00;5.0;57.6000;11.9000\r\n"
    "2016-10-04 06:00:00;2024-06-01 06:00:00;3.0;57.7157;11.9925\r\n\r\n"
    "Datum;Tid (UTC);Nederbördsmängd;Kvalitet;;Tidsutsnitt:\r\n"
    "2024-06-01;00:00:00;0.0;G;;Kvalitetskontrollerade historiska data (utom de senaste 3 mån)\r\n"
    "2024-06-01;01:00:00;1.4;G;;Tidsperiod (fr.o.m.) = 2024-06-01 00:00:00 (UTC)\r\n"
    "2024-06-01;02:00:00;;Y;;\r\n"
)


def test_smhi_hours_at_their_last_place(tmp_path):
    path = tmp_path / "smhi-opendata_7_71420_20240601.csv"
    path.write_bytes(SMHI.encode())
    made = open_stations(path)
    assert made.attrs["format"] == "smhi-csv"
    assert made.station.values.tolist() == ["Göteborg A"]
    assert [str(time)[11:16] for time in made.time.values] == ["00:00", "01:00", "02:00"]
    np.testing.assert_allclose(made.precipitation_rate.values, [[0, 1.4, np.nan]], rtol=1e-6)
    assert [float(made[name][0]) for name in ("latitude", "longitude", "altitude")] == [57.7157, 11.9925, 3.0]
    path.write_bytes(
        SMHI.replace("summa 1 timme, 1 gång/tim", "summa 15 min, 4 gånger/tim")
        .replace("01:00:00;", "00:15:00;")
        .encode()
    )
    made = open_stations(path)
    assert made.attrs["interval_minutes"] == 15
    np.testing.assert_allclose(made.precipitation_rate.values, [[0, 5.6, np.nan]], rtol=1e-6)


@pytest.mark.parametrize(
    ("old", "new", "says"),
    [
        ("Datum;Tid (UTC);", "Från Datum Tid (UTC);Till Datum Tid (UTC);", "not of days"),
        (
            "Nederbördsmängd;summa 1 timme, 1 gång/tim",
            "Lufttemperatur;momentanvärde, 1 gång/tim",
            "holds Lufttemperatur",
        ),
        ("Latitud (decimalgrader)", "Latitud", "metadata lack Latitud"),
        ("57.7157", "57.7157N3", "'57.7157N3' in column latitude is no number"),
        ("Parameternamn;", "Parameter;", "metadata lack Parameternamn"),
        ("1.4;G", "lots;G", "'lots' in column Nederbördsmängd"),
    ],
)
def test_smhi_files_of_another_kind_are_refused(old, new, says, tmp_path):
    path = tmp_path / "smhi.csv"
    path.write_bytes(SMHI.replace(old, new).encode())
    with pytest.raises(ReadError, match=says):
        open_stations(path)


# --- what all have in common ----------------------------------------------------------------------------------


def test_rows_of_nines_are_no_rain_in_any_service(swiss, tmp_path):
    """Codes of missing values that a service does not declare; 99.9 mm in an hour is beyond all but records."""
    meteofrance = tmp_path / "H_01.csv"
    rows = "".join(f"01014002;46.3;5.7;534;202406010{h};{v};\n" for h, v in enumerate((0.4, 99.9, 999.9, 1)))
    meteofrance.write_text("NUM_POSTE;LAT;LON;ALTI;AAAAMMJJHH;RR1;QRR1\n" + rows)
    radolan = tmp_path / "radolan.csv"
    rows = "".join(f"2024-06-01 0{h}:50:00,44,{v},X,8.2,52.9,1,1\n" for h, v in enumerate((0.4, 99.9, 999.9, 1)))
    radolan.write_text("time,station_id,rainfall_amount,station_name,longitude,latitude,x,y\n" + rows)
    for path in (meteofrance, radolan):
        made = open_stations(path)
        np.testing.assert_allclose(made.precipitation_rate.values, [[0.4, np.nan, np.nan, 1]], rtol=1e-6)
        assert made.attrs["impossible_values"] == "precipitation_rate: 2"


def test_times_of_another_format_say_that_the_file_was_edited(swiss):
    swiss[0].write_text(swiss[0].read_text().replace("01.02.2024", "2024-02-01"))
    with pytest.raises(ReadError, match=r"does not fit the format '%d\.%m\.%Y %H:%M' .*Get the file anew") as refused:
        open_stations(swiss[0])
    assert "time_format=" not in str(refused.value)


def test_iem_times_in_another_zone_are_refused(tmp_path):
    path = tmp_path / "asos.csv"
    path.write_text("station,valid(America/Chicago),lon,lat,p01i\nAAA,2024-06-01 12:53,-90,40,0.1\n")
    with pytest.raises(ReadError, match=r"'valid\(America/Chicago\)'\. Download it with the time zone UTC"):
        open_stations(path)


# --- CF NetCDF ------------------------------------------------------------------------------------------------


def cf_stations(path, amounts, units="mm", time_attrs=None, **attrs):
    """Write amounts of ten minutes of stations, shape (station, time), as CF NetCDF."""
    amounts = np.array(amounts, float)
    times = np.datetime64("2024-06-01T12:00", "ns") + np.arange(amounts.shape[1]) * np.timedelta64(10, "m")
    rain = (("station", "time"), amounts, {"units": units, "standard_name": "thickness_of_rainfall_amount", **attrs})
    degrees = np.arange(len(amounts)) + 46.0
    xr.Dataset(
        {"pr": rain},
        coords={
            "time": ("time", times, time_attrs or {}),
            "latitude": ("station", degrees, {"standard_name": "latitude"}),
            "longitude": ("station", degrees, {"standard_name": "longitude"}),
            "id": ("station", np.array(list("ABC")[: len(amounts)], object), {"cf_role": "timeseries_id"}),
        },
        attrs={"featureType": "timeSeries"},
    ).to_netcdf(path)
    return path


def test_cf_amounts_in_other_units(tmp_path):
    for units, factor in (("inch", 25.4), ("m", 1000.0), ("kg m-2", 1.0)):
        made = open_stations(cf_stations(tmp_path / "s.nc", [[0, 0.004, 0.002]], units))
        np.testing.assert_allclose(made.precipitation_rate.values, [[0, 0.024 * factor, 0.012 * factor]], rtol=1e-6)


def test_cf_accumulations_are_left_out_by_station(tmp_path):
    path = cf_stations(tmp_path / "s.nc", [30 + np.arange(8.0), [0, 0.2, 0, 0, 1, 0.4, 0, 0]])
    with pytest.warns(InputWarning, match="left out A: its values only rise"):
        made = open_stations(path)
    assert np.isnan(made.precipitation_rate.values[0]).all()
    np.testing.assert_allclose(made.precipitation_rate.values[1], np.array([0, 0.2, 0, 0, 1, 0.4, 0, 0]) * 6, rtol=1e-6)
    assert made.attrs["stations_left_out"].startswith("A: ")


@pytest.mark.parametrize(
    ("attrs", "says"),
    [
        ({"long_name": "rain since midnight"}, "described as 'rain since midnight', so no amount in an interval"),
        ({"cell_methods": "time: sum (comment: counter of tips)"}, "counter of tips"),
        ({"time_attrs": {"long_name": "local time"}}, "times are described as 'local time'.*Convert"),
        ({"time_attrs": {"comment": "start of the interval"}}, "start of the interval"),
    ],
)
def test_cf_descriptions_of_another_meaning_are_refused(attrs, says, tmp_path):
    with pytest.raises(ReadError, match=says):
        open_stations(cf_stations(tmp_path / "s.nc", [[0, 0.2, 0]], **attrs))
    described = {"time_attrs": {"long_name": "end of the interval, UTC"}, "long_name": "rain since the last report"}
    assert open_stations(cf_stations(tmp_path / "s.nc", [[0, 0.2, 0]], **described)).sizes["time"] == 3


def test_meteonet_names_the_rain_that_is_no_number(tmp_path):
    path = tmp_path / "NW2016.csv"
    head = "number_sta,lat,lon,height_sta,date,dd,ff,precip,hu,td,t,psl\n"
    rows = "".join(f"1,46.2,5.6,534,2016-01-01 00:0{m},210,3,{v},90,276,277,\n" for m, v in ((0, 0.2), (6, "lots")))
    path.write_text(head + rows)
    with pytest.raises(ReadError, match="'lots' in column precip is no number"):
        open_stations(path)
    path.write_text(head + rows.replace("lots", "tr"))
    np.testing.assert_allclose(open_stations(path).precipitation_rate.values, [[2.0, 0.0]], rtol=1e-6)
