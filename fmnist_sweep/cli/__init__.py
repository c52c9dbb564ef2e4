"""The command line: commands, console output, the live display."""
