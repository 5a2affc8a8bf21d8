"""Files of other kinds, as people give them by mistake: what they are is told, and what to do."""

from __future__ import annotations

import gzip
import io
import pickle
import struct
import zipfile

import numpy as np
import pytest
import xarray as xr

from hybridcast.core.file_kinds import is_text
from hybridcast.errors import ReadError, UnknownFormatError
from hybridcast.nwp import open_nwp
from hybridcast.radar import open_radar
from hybridcast.stations import open_stations


def zipped(*names):
    stream = io.BytesIO()
    with zipfile.ZipFile(stream, "w") as archive:
        for name in names:
            archive.writestr(name, "content")
    return stream.getvalue()


def iris_header():
    """Return the structure header of an IRIS product: 27, version 8, size (IRIS Programmer's Manual, 4.2)."""
    return struct.pack("<hhi", 27, 8, 100_000) + bytes(600)


def picture(kind):
    from PIL import Image

    stream = io.BytesIO()
    Image.new("RGB", (4, 4)).save(stream, kind)
    return stream.getvalue()


KINDS = {
    "page.h5": (b"\n<!DOCTYPE html>\n<html><title>404 Not Found</title>", "a web page, not the file.*login"),
    "page_old.h5": (b"<HTML><HEAD>", "a web page, not the file"),
    "page_x.h5": (b'\xef\xbb\xbf<?xml version="1.0"?><!-- page --><html xmlns="x">', "a web page, not the file"),
    "denied.h5": (
        b'<?xml version="1.0" encoding="UTF-8"?>\n<Error><Code>AccessDenied</Code></Error>',
        "the message of a server that refused the download",
    ),
    "wms.tif": (
        b'<?xml version="1.0"?>\n<ServiceExceptionReport version="1.3.0">',
        "the message of a server that refused",
    ),
    "layout.xml": (b'<?xml version="1.0"?><product>', "XML, whose layout is not known"),
    "items.h5": (
        b'{"type": "FeatureCollection", "features": []}',
        "JSON, such as the list or the message of a web service",
    ),
    "list.h5": (b'[ {"href": "a"}]', "JSON"),
    "report.pdf": (b"%PDF-1.7", "a PDF document"),
    "map.png": (picture("PNG"), "a PNG, a picture, whose colours are no values"),
    "map.jpg": (picture("JPEG"), "a JPEG, a picture"),
    "map.gif": (picture("GIF"), "a GIF, a picture|not a MeteoSwiss"),
    "map.webp": (picture("WEBP"), "a WebP, a picture"),
    "map.bmp": (picture("BMP"), "a BMP, a picture"),
    "synop.bufr": (b"BUFR\x00\x01\x02\x04" + bytes(90), "BUFR, which is not read"),
    "bulletin.bufr": (b"\x01\r\r\n123\r\r\nISMD01 EDZW 121200\r\r\nBUFR\x00\x01\x02\x04" + bytes(90), "BUFR"),
    "KTLX20240601_120000_V06": (b"AR2V0006.001" + bytes(500), "a NEXRAD Level II volume of a single radar"),
    "KTLX20000601_120000": (b"ARCHIVE2.001" + bytes(500), "a NEXRAD Level II volume"),
    "KOUN_SDUS54_N0QTLX": (b"SDUS54 KOUN 011200\r\r\nN0QTLX\r\r\n" + bytes(500), "a NEXRAD Level III product"),
    "sweep.RAW": (iris_header(), r"a product or volume of IRIS \(Sigmet\)"),
    "RZC241531205VL.801": (  # the first lines of a product, as pymetranet 0.5 writes them
        b"pid=RZC\nproduct=RAIN\ntime=241531205VL\nformat=RECT\ndata_unit=mm/h\nrow=640\ncolumn=710\ndata_bits=8\n"
        b"table_num=1\nend_header\n" + bytes(99),
        "a METRANET product of MeteoSwiss.*ODIM HDF5",
    ),
    "volume.uf": (struct.pack(">i", 9000) + b"UF" + struct.pack(">hh", 4500, 45) + bytes(50), "a Universal Format"),
    "volume.vol": (b'<volume version="5.34.16" datetime="2024-06-01T12:00:00">', "a Rainbow volume of a single radar"),
    "swp.dorade": (b"SSWB" + bytes(500), "a DORADE sweep"),
    "pointer.h5": (b"version https://git-lfs.github.com/spec/v1\noid sha256:1\n", "a pointer of Git LFS.*git lfs pull"),
    "annex.h5": (b"/annex/objects/SHA256E-s1--1.h5\n", "a pointer of git-annex"),
    "zeros.h5": (bytes(5000), "nothing but zeros"),
    "table.xls": (b"\xd0\xcf\x11\xe0\xa1\xb1\x1a\xe1" + bytes(600), "Office|spreadsheet"),
    "table.xlsx": (zipped("[Content_Types].xml", "xl/workbook.xml"), "an Excel workbook|spreadsheet"),
    "text.docx": (zipped("[Content_Types].xml", "word/document.xml"), "a document of Office|spreadsheet"),
    "table.ods": (zipped("mimetype", "content.xml"), "an OpenDocument"),
    "earth.kmz": (zipped("doc.kml", "images/a.png"), "a KMZ, pictures for Google Earth"),
    "earth.kml": (b'<?xml version="1.0"?>\n<kml xmlns="http://www.opengis.net/kml/2.2">', "KML, a picture"),
    "arrays.npz": (zipped("a.npy", "b.npy"), "arrays of numpy"),
    "array.npy": (b"\x93NUMPY\x01\x00" + bytes(100), "an array of numpy, without place and time"),
    "all.7z": (b"7z\xbc\xaf\x27\x1c" + bytes(90), "a 7z archive. Unpack it"),
    "all.rar": (b"Rar!\x1a\x07\x01" + bytes(90), "a RAR archive. Unpack it"),
    "old.Z": (b"\x1f\x9d\x90" + bytes(90), "compressed by Unix compress"),
    "old.lz4": (b"\x04\x22\x4d\x18" + bytes(90), "compressed by lz4"),
    "base.gpkg": (b"SQLite format 3\x00" + bytes(90), "an SQLite or GeoPackage database"),
    "old.hdf": (b"\x0e\x03\x13\x01" + bytes(90), "HDF4"),
    "old.mat": (b"MATLAB 5.0 MAT-file" + bytes(90), "a MATLAB file"),
    "data.pkl": (pickle.dumps(np.zeros(3)), "a Python pickle"),
    "grid.asc": (b"ncols 10\nnrows 20\nxllcorner 0\n", "an ASCII grid"),
}


@pytest.mark.parametrize("name", KINDS)
@pytest.mark.parametrize("packed", [False, True])
def test_what_a_file_is_instead_of_radar_is_told(tmp_path, name, packed):
    content, what = KINDS[name]
    if packed and content.startswith(b"PK"):
        return
    path = tmp_path / (f"{name}.gz" if packed else name)
    path.write_bytes(gzip.compress(content) if packed else content)
    with pytest.raises(ReadError, match=f"(?s){name}.*({what})"):
        open_radar(path)


@pytest.mark.parametrize(
    "name", ["page.h5", "items.h5", "KTLX20240601_120000_V06", "table.xlsx", "zeros.h5", "map.png"]
)
@pytest.mark.parametrize("opens", [open_stations, open_nwp])
def test_what_a_file_is_instead_of_stations_or_model_fields_is_told(tmp_path, name, opens):
    content, what = KINDS[name]
    path = tmp_path / name
    path.write_bytes(content)
    with pytest.raises(ReadError, match=rf"(?s){name}.*({what}|web page|JSON|spreadsheet)"):
        opens(path)


def test_a_table_given_as_radar_is_shown_the_way(tmp_path):
    path = tmp_path / "gauges.csv"
    path.write_text("station;time;rain\n")
    with pytest.raises(UnknownFormatError, match=r"tables of stations go to open_stations \(--stations\)"):
        open_radar(path)


def test_text_is_told_from_other_content():
    assert is_text("Größe in mm\n".encode())
    assert is_text(b"cut: " + "ü".encode()[:1])
    assert not is_text(b"\x00\x01\x02")
    assert not is_text("Größe in mm and more".encode("latin-1"))


def test_scans_of_one_radar_in_netcdf_are_told_from_maps(tmp_path):
    """CfRadial (dims time and range) and xradar's sweeps (dims azimuth and range)."""
    time = np.datetime64("2024-06-01T12:00", "ns") + np.arange(36) * np.timedelta64(1, "s")
    attrs = {"units": "dBZ", "standard_name": "equivalent_reflectivity_factor"}
    ray, gate = np.arange(36) * 10.0, np.arange(10) * 1000.0
    cfradial = xr.Dataset(
        {"DBZ": (("time", "range"), np.zeros((36, 10), np.float32), attrs)},
        {"time": time, "range": gate, "azimuth": ("time", ray), "elevation": ("time", np.full(36, 0.5))},
        {"Conventions": "CF/Radial instrument_parameters"},
    )
    sweep = xr.Dataset(
        {"DBZH": (("azimuth", "range"), np.zeros((36, 10), np.float32), attrs)}, {"azimuth": ray, "range": gate}
    )
    for name, data in {"cfradial.nc": cfradial, "sweep.nc": sweep}.items():
        data.to_netcdf(tmp_path / name)
        with pytest.raises(ReadError, match=rf"{name}: .* is of a single radar, by azimuth and range; a composite"):
            open_radar(tmp_path / name)
