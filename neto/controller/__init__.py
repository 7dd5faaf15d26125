"""Pure and synchronous: nouns in, nouns out. No clock, no I/O, no names inside, only rows."""
