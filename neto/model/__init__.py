"""Nouns: frozen dataclasses and the arrays behind them. No I/O, no policy, no clock."""
