"""Verification: additive statistics of each case first (`statistics`), scores computed from them last (`scores`).

`statistics` compares one forecast with the observation, `comparison` several nowcasters on the same points, `hours`
averages rain over whole hours before that. `significance` tests differences to a baseline. `evaluation` runs nowcasters
over many events, and `tables` lays the scores out.
"""
