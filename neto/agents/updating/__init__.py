"""Pushing and reading back: routes over BGP, policies over the command line."""
