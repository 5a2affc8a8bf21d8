"""Films of a forecast: GIF, which opens everywhere, or MP4, which is smaller."""

from __future__ import annotations

import shutil
import subprocess
from collections.abc import Iterator
from pathlib import Path
from typing import TYPE_CHECKING, Any, cast

import numpy as np
import xarray as xr
from numpy.typing import NDArray

from hybridcast.core.extras import extra
from hybridcast.core.files import atomic_write
from hybridcast.errors import DependencyError, InputError
from hybridcast.plots import parts

if TYPE_CHECKING:
    from matplotlib.axes import Axes
    from matplotlib.figure import Figure

Pixels = NDArray[np.uint8]
"""A drawn figure, shape ``(row, column, 3 or 4)``."""


def animate_forecast(
    forecast: xr.Dataset,
    path: str | Path,
    observed: xr.DataArray | None = None,
    *,
    realization: int | None = None,
    frames_per_second: float = 4.0,
    dpi: float = 100.0,
    coast: bool = True,
) -> Path:
    """Write a film of a forecast, beside the observation if it is given.

    Parameters
    ----------
    forecast, observed
        As in `plot_forecast`.
    path
        File to write, ``.gif`` or ``.mp4``; it appears, or changes, only when the film is complete. MP4 needs ffmpeg,
        from the system or from the package imageio-ffmpeg.
    realization
        Number of a member to show instead of the deterministic field.
    frames_per_second
        Number of lead times shown per second.
    dpi
        Resolution, pixels per inch; the file of 60 has a third of the size.
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
        If ffmpeg is not installed and `path` is MP4.

    Examples
    --------
    >>> animate_forecast(forecast, "forecast.gif")  # doctest: +SKIP
    """
    kind = Path(path).suffix.lower()
    if kind not in {".gif", ".mp4"}:
        raise InputError(f"the film is called {str(path)!r}", "a film is .gif or .mp4", "Write forecast.gif")
    ffmpeg = ffmpeg_path() if kind == ".mp4" else ""
    rain = parts.check_forecast(forecast, observed, realization)
    figure, panels = _lay_out(forecast, rain, observed, coast=coast)
    figure.set_dpi(dpi)
    frames = _draw_frames(figure, panels, rain, observed)
    with atomic_write(path) as unfinished:
        if ffmpeg:
            _write_mp4(frames, unfinished, frames_per_second, ffmpeg)
        else:
            _write_gif(frames, unfinished, frames_per_second)
    return Path(path).expanduser()


def ffmpeg_path() -> str:
    """Return the path of ffmpeg, from the system or the package imageio-ffmpeg; raise `DependencyError` otherwise."""
    found = shutil.which("ffmpeg")
    if found:
        return found
    with extra("film", "MP4 without ffmpeg on the system", "or write a .gif"):
        import imageio_ffmpeg
    try:
        return cast(str, imageio_ffmpeg.get_ffmpeg_exe())
    except RuntimeError as error:
        raise DependencyError(
            f"there is no ffmpeg, which writes MP4 ({error}). Install it, or write a .gif."
        ) from error


def _draw_frames(
    figure: Figure, panels: list[Axes], rain: xr.DataArray, observed: xr.DataArray | None
) -> Iterator[Pixels]:
    """Draw each lead time as pixels of red, green and blue, with even height and width as MP4 requires."""
    images = [panel.images[0] for panel in panels]
    for i in range(rain.sizes["lead_time"]):
        rate = rain.isel(lead_time=i)
        panels[0].set_title(parts.lead_title(rate))
        images[0].set_data(parts.render_field(rate)[0])
        if observed is not None:
            truth = parts.select_observed(observed, rate)
            images[1].set_data(parts.render_field(xr.full_like(rate, np.nan) if truth is None else truth)[0])
            panels[1].set_title("observed" if truth is not None else "not observed")
        pixels = _draw_pixels(figure)
        yield pixels[: pixels.shape[0] // 2 * 2, : pixels.shape[1] // 2 * 2, :3]


def _lay_out(
    forecast: xr.Dataset, rain: xr.DataArray, observed: xr.DataArray | None, *, coast: bool
) -> tuple[Figure, list[Axes]]:
    """Draw the parts of the figure that are the same for all lead times."""
    columns = 1 if observed is None else 2
    figure = parts.new_figure(parts.figure_size(rain.isel(lead_time=0), columns, 1))
    panels = list(figure.subplots(1, columns, squeeze=False, sharex=True, sharey=True)[0])
    for panel in panels:
        parts.draw_field(panel, rain.isel(lead_time=0), coast=coast)
    parts.draw_motion(panels[0], forecast, key=False)
    panels[0].set_title(parts.lead_title(rain.isel(lead_time=-1)))
    if observed is not None:
        panels[1].set_title("observed")
        panels[1].label_outer()
    figure.suptitle(parts.issue_title(rain))
    parts.draw_key(figure, panels)
    figure.set_layout_engine("none")  # the layout stays the same for all lead times
    return figure, panels


def _draw_pixels(figure: Figure) -> Pixels:
    """Draw `figure` and return its pixels: red, green, blue and opacity."""
    figure.canvas.draw()
    return np.array(cast(Any, figure.canvas).buffer_rgba())


def _write_gif(frames: Iterator[Pixels], path: Path, frames_per_second: float) -> None:
    from PIL import Image

    images = [Image.fromarray(frame).quantize(128, dither=Image.Dither.NONE) for frame in frames]  # flat colours
    duration = round(1000 / frames_per_second)
    images[0].save(path, save_all=True, append_images=images[1:], duration=duration, loop=0)


def _write_mp4(frames: Iterator[Pixels], path: Path, frames_per_second: float, ffmpeg: str) -> None:
    """Write the frames as H.264, in the form that browsers and telephones play."""
    first = next(frames)
    height, width = first.shape[:2]
    source = [
        "-f",
        "rawvideo",
        "-pix_fmt",
        "rgb24",
        "-s",
        f"{width}x{height}",
        "-r",
        f"{frames_per_second:g}",
        "-i",
        "-",
    ]
    target = ["-an", "-c:v", "libx264", "-crf", "20", "-pix_fmt", "yuv420p", "-movflags", "+faststart"]
    command = [ffmpeg, "-y", "-loglevel", "error", *source, *target, "-f", "mp4", str(path)]
    raw = b"".join(np.ascontiguousarray(frame).tobytes() for frame in (first, *frames))
    done = subprocess.run(command, input=raw, capture_output=True, check=False)
    if done.returncode:
        lines = done.stderr.decode(errors="replace").strip().splitlines()
        raise DependencyError(f"ffmpeg failed ({lines[-1] if lines else done.returncode}). Write a .gif instead.")
