"""Predictors of the learned members, computed from radar, NWP, terrain and stations.

- `hybridcast.predictors.radar`, `hybridcast.predictors.track`, `hybridcast.predictors.nwp`,
  `hybridcast.predictors.terrain` and `hybridcast.predictors.stations` compute predictors and declare them;
- `hybridcast.predictors.registry` lists all of them, and ``python -m hybridcast.predictors`` prints them as a table;
- `hybridcast.predictors.state` builds the matrices of predictors that members read;
- `hybridcast.predictors.sources` selects the data besides radar that were available at an issue time.

To add a predictor, write a function that computes it in the module of its source, and declare it there with its name,
units, kind, meaning and transform (see `hybridcast.predictors.predictor.Predictor`). Columns and the table follow from
the declaration. Samples drawn before are drawn again in the next training; trained models go on using the predictors
that they were trained with, so a new one takes effect once a model is trained with it.
"""
