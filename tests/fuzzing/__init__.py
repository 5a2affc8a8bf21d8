"""Damaged copies of files through every reader: each is read rightly, or refused with a `ReadError`."""
