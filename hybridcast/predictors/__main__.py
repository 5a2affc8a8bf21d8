"""Print the table of all predictors: ``python -m hybridcast.predictors``."""

from hybridcast.predictors.registry import format_table

print(format_table())
