"""The report of a night: one page with all of its styles, scripts and pictures inside, and an index of the nights."""

from hybridcast.core.extras import extra

with extra("nightly", "the nightly report"):
    from hybridcast.nightly.report.pages import write_index, write_night_page

__all__ = ["write_index", "write_night_page"]
