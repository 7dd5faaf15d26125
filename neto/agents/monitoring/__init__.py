"""Listening: topology over BGP-LS, demand over NetFlow and IPFIX."""
