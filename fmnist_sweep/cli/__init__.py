"""The command line: commands, the console, the live display."""
