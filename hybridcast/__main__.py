"""``python -m hybridcast`` is the command line."""

from hybridcast.cli import main

main()
