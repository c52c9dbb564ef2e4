"""What a sweep's journal says, as plain data: its history, what mattered, what was searched."""
