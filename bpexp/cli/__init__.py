"""The command line: arguments, commands, terminal output and error messages."""
