"""What the settings say of a Prometheus -> how to ask it, and what cannot be."""

from __future__ import annotations

from pathlib import Path
from urllib.parse import urlsplit

from neto.agents.http import Server
from neto.agents.monitoring.prometheus import Source
from neto.agents.mqtt import tls_context
from neto.errors import Problem
from neto.settings.latency import PrometheusSource
from neto.settings.toml import TomlFile
from neto.wire.prometheus import Reading

_PORTS = {"http": 80, "https": 443}
_FILES = ("token_file", "password_file", "ca_file", "certificate_file", "key_file")
_MS = {"s": 1000.0, "ms": 1.0}


def source(told: PrometheusSource) -> Source:
    """How to ask it. Raises NetoError when a file of its TLS cannot be used."""
    parts = urlsplit(told.url)
    tls = tls_context(told.ca_file, told.certificate_file, told.key_file) if parts.scheme == "https" else None
    return Source(
        url=told.url,
        server=Server(parts.hostname or "", parts.port or _PORTS[parts.scheme], tls),
        path=f"{parts.path}/api/v1/query",
        query=told.query,
        loss_query=told.loss_query or told.success_query,
        reading=Reading(
            *(_MS[told.unit], told.probes, told.vantage_label, told.peering_link_label, told.prefix_label),
            answered=told.success_query is not None,
        ),
        interval_s=told.interval_s,
        timeout_s=told.timeout_s,
        token_file=told.token_file,
        username=told.username,
        password_file=told.password_file,
    )


def absolute(told: PrometheusSource, base: Path) -> PrometheusSource:
    """Return the same with its files as absolute paths."""
    return told.model_copy(update={name: base / at for name in _FILES if (at := getattr(told, name))})


def problems(file: TomlFile, sources: tuple[PrometheusSource, ...]) -> list[Problem]:
    """Find settings that are of no use with, or without, others."""
    found = []
    for row, each in enumerate(sources):
        plain = urlsplit(each.url).scheme == "http"
        wrong = {
            "success_query": (
                "is of no use with a loss_query",
                "one of the two",
                each.success_query and each.loss_query,
            ),
            "username": ("is of no use with a token_file", "one of the two", each.username and each.token_file),
            "password_file": ("needs a username", "with username", each.password_file and each.username is None),
            "ca_file": ("is of no use without TLS", "with a url of https", each.ca_file and plain),
            "certificate_file": ("is of no use without TLS", "with a url of https", each.certificate_file and plain),
            "key_file": ("needs its certificate", "with certificate_file", each.key_file and not each.certificate_file),
        }
        found += [
            file.problem(("latency", "prometheus", row, name), f"{what}; accepted: {accepted}")
            for name, (what, accepted, holds) in wrong.items()
            if holds
        ]
    return found
