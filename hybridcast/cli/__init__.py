"""The command line: one module for each group of commands, assembled in `hybridcast.cli.app`."""
