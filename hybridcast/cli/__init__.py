"""The command line: a module for each command or pair of commands, assembled in `hybridcast.cli.app`."""
