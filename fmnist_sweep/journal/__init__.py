"""The journal: a sweep's records, and everything derived from them."""
