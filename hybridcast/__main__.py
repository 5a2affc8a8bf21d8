"""Run the command line by ``python -m hybridcast``."""

from hybridcast.cli.app import main

main()
