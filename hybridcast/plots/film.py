"""Films of a forecast: GIF, which opens everywhere, and MP4, which is smaller."""

from __future__ import annotations

import shutil
import subprocess
from collections.abc import Iterator
from pathlib import Path
from typing import TYPE_CHECKING, Any, cast

import numpy as np
import xarray as xr
from numpy.typing import NDArray

from hybridcast.core.files import atomic_write
from hybridcast.errors import DependencyError, InputError
from hybridcast.plots import parts

if TYPE_CHECKING:
    from matplotlib.axes import Axes
    from matplotlib.figure import Figure

Frame = NDArray[np.uint8]


def animate_forecast(
    forecast: xr.Dataset,
    path: str | Path,
    observed: xr.DataArray | None = None,
    *,
    frames_per_second: float = 4.0,
    dpi: float = 100.0,
    coast: bool = True,
) -> Path:
    """Write a film of a forecast, beside what was observed if that is given.

    Parameters
    ----------
    forecast, observed
        As in `plot_forecast`.
    path
        File to write, ``.gif`` or ``.mp4``; it appears, or changes, only when the film is complete. MP4 needs ffmpeg,
        of the system or of the package imageio-ffmpeg.
    frames_per_second
        Lead times a second.
    dpi
        Pixels an inch; 60 gives a film of a third of the size.
    coast
        As in `plot_precipitation`.

    Returns
    -------
    Path
        `path`.

    Raises
    ------
    InputError
        As in `plot_forecast`, and if `path` is neither GIF nor MP4.
    DependencyError
        If there is no ffmpeg for an MP4.

    Examples
    --------
    >>> animate_forecast(forecast, "forecast.gif")  # doctest: +SKIP
    """
    kind = Path(path).suffix.lower()
    if kind not in {".gif", ".mp4"}:
        raise InputError(f"the film is called {str(path)!r}", "a film is .gif or .mp4", "Write forecast.gif")
    ffmpeg = ffmpeg_path() if kind == ".mp4" else ""
    rain = parts.check_forecast(forecast, observed)
    figure, panels = _stage(forecast, rain, observed, coast=coast)
    figure.set_dpi(dpi)
    frames = _frames(figure, panels, rain, observed)
    with atomic_write(path) as unfinished:
        if ffmpeg:
            _write_mp4(frames, unfinished, frames_per_second, ffmpeg)
        else:
            _write_gif(frames, unfinished, frames_per_second)
    return Path(path).expanduser()


def ffmpeg_path() -> str:
    """Return where ffmpeg is: that of the system, or of the package imageio-ffmpeg; `DependencyError` if nowhere."""
    found = shutil.which("ffmpeg")
    if found:
        return found
    try:
        import imageio_ffmpeg

        return cast(str, imageio_ffmpeg.get_ffmpeg_exe())
    except (ImportError, RuntimeError) as error:
        remedy = "pip install 'hybridcast[film]', or write a .gif"
        raise DependencyError(f"there is no ffmpeg; an MP4 is made by it. {remedy}.") from error


def _frames(figure: Figure, panels: list[Axes], rain: xr.DataArray, observed: xr.DataArray | None) -> Iterator[Frame]:
    """Draw lead time after lead time: red, green and blue, even in height and width, as MP4 has to be."""
    images = [panel.images[0] for panel in panels]
    for i in range(rain.sizes["lead_time"]):
        now = rain.isel(lead_time=i)
        panels[0].set_title(parts.lead_title(now))
        images[0].set_data(parts.render_field(now)[0])
        if observed is not None:
            seen = parts.at_same_time(observed, now)
            images[1].set_data(parts.render_field(xr.full_like(now, np.nan) if seen is None else seen)[0])
            panels[1].set_title("observed" if seen is not None else "not observed")
        pixels = _pixels(figure)
        yield pixels[: pixels.shape[0] // 2 * 2, : pixels.shape[1] // 2 * 2, :3]


def _stage(
    forecast: xr.Dataset, rain: xr.DataArray, observed: xr.DataArray | None, *, coast: bool
) -> tuple[Figure, list[Axes]]:
    """Lay out what stays from frame to frame."""
    columns = 1 if observed is None else 2
    figure = parts.new_figure(parts.size_of(rain.isel(lead_time=0), columns, 1))
    panels = list(figure.subplots(1, columns, squeeze=False, sharex=True, sharey=True)[0])
    for panel in panels:
        parts.draw(panel, rain.isel(lead_time=0), coast=coast)
    parts.draw_motion(panels[0], forecast, key=False)
    panels[0].set_title(parts.lead_title(rain.isel(lead_time=-1)))
    if observed is not None:
        panels[1].set_title("observed")
        panels[1].label_outer()
    figure.suptitle(parts.issue_title(rain))
    parts.explain(figure, panels)
    figure.set_layout_engine("none")  # what is laid out once stays where it is from frame to frame
    return figure, panels


def _pixels(figure: Figure) -> Frame:
    """Draw `figure` and give its pixels, red, green, blue and opacity."""
    figure.canvas.draw()
    return np.array(cast(Any, figure.canvas).buffer_rgba())


def _write_gif(frames: Iterator[Frame], path: Path, frames_per_second: float) -> None:
    from PIL import Image

    few = [Image.fromarray(frame).quantize(128, dither=Image.Dither.NONE) for frame in frames]  # colours are flat
    duration = round(1000 / frames_per_second)
    few[0].save(path, save_all=True, append_images=few[1:], duration=duration, loop=0)


def _write_mp4(frames: Iterator[Frame], path: Path, frames_per_second: float, ffmpeg: str) -> None:
    """Return the frames to ffmpeg one by one, as H.264 in the form that browsers and telephones play."""
    first = next(frames)
    height, width = first.shape[:2]
    raw = ["-f", "rawvideo", "-pix_fmt", "rgb24", "-s", f"{width}x{height}", "-r", f"{frames_per_second:g}", "-i", "-"]
    made = ["-an", "-c:v", "libx264", "-crf", "20", "-pix_fmt", "yuv420p", "-movflags", "+faststart"]
    command = [ffmpeg, "-y", "-loglevel", "error", *raw, *made, "-f", "mp4", str(path)]
    everything = b"".join(np.ascontiguousarray(frame).tobytes() for frame in (first, *frames))
    done = subprocess.run(command, input=everything, capture_output=True, check=False)
    if done.returncode:
        said = done.stderr.decode(errors="replace").strip().splitlines()
        raise DependencyError(f"ffmpeg failed ({said[-1] if said else done.returncode}). Write a .gif instead.")
