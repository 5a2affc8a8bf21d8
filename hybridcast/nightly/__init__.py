"""Nightly verification: yesterday's nowcasts of every region, their statistics stored, a report and an alarm.

The flow: `config` reads the regions; `run` goes through days and regions; `verify_day` finds the radar (`radar`), makes
and scores the forecasts of each issue time (`cases`) and stores a day (`store`). `alarm` judges a night by the nights
before it (`series`), `report` writes the pages, and `query` answers SQL on the store. `records` has the types that pass
between them.
"""
