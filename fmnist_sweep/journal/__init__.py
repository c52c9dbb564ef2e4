"""What happened in a sweep: its records, and all that is derived from them."""
