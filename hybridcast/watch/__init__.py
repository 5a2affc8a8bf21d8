"""Forecasts as the radar comes in: a loop that takes new frames, makes forecasts and tells others of them.

The flow: `config` reads the tables ``[watch]``; `arrivals` keeps which files and frames have come, `sources` finds and
reads them; `schedule` decides which forecast is due; `forecasts` makes one, with its `products`, in a process of its
own; `folder` puts it in its place, whole, and removes old ones; `delivery` runs commands and posts to URLs; `status`
writes what monitors read. `loop` goes through all of that again and again, by a `clock`; `replay` feeds it an archive.

Whatever is killed at whatever moment, what is on the disk is whole, and the next start goes on from it.
"""
