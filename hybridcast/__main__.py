"""``python -m hybridcast`` is the command line."""

from hybridcast.cli.app import main

main()
