"""The persistent store: one protocol, every stage reads it and writes it."""
