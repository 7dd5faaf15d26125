"""Real topologies with demands at a wanted load: REPETITA's files, and gravity demands where there are none.

The files are read from NETO_DATA, or from a data folder beside the checkout; whoever asks is told when there are none.
"""

from __future__ import annotations

import os
from dataclasses import dataclass, replace
from pathlib import Path

import numpy as np

from neto.controller.paths import candidate_paths
from neto.model.allocation import PathSet
from neto.model.demand import Demand
from neto.model.intent import TrafficClass
from neto.model.topology import Topology
from neto.wire.repetita import read_demands, read_graph

DATA = Path(os.environ.get("NETO_DATA", Path(__file__).parents[4] / "shared" / "data")) / "repetita"
CLASS = TrafficClass("default")
_SEED = 8


@dataclass(frozen=True, eq=False)
class Instance:
    """One allocation problem. The worst link would be at `load` if all took their shortest path by delay."""

    name: str
    k: int
    load: float
    topology: Topology
    demands: tuple[Demand, ...]
    paths: PathSet

    def __reduce__(self):
        """Travel to another process without what a topology has looked up."""
        parts = (self.topology.nodes, self.topology.links)
        return _arrived, (self.name, self.k, self.load, parts, self.demands, self.paths)

    def __str__(self):
        return f"{self.name} K{self.k} load {self.load:g}"

    @property
    def capacity_mbps(self):
        return self.topology.capacity_mbps

    @property
    def demand_mbps(self):
        return np.array([demand.rate_mbps for demand in self.demands])


def _arrived(name, k, load, parts, demands, paths):
    return Instance(name, k, load, Topology(*parts), demands, paths)


def missing(name, data=DATA):
    """Say what is missing for this instance; None when all is there."""
    file = data / f"{name.partition(' ')[0]}.graph"
    return None if file.is_file() else f"no {file}: set NETO_DATA to the folder that has repetita/{file.name}"


def load_instance(name, k, load, data=DATA):
    """Read a topology and its first demands, or make gravity demands, and scale them to the load.

    "NAME gravity": gravity demands even where there are others.
    """
    bare, _, kind = name.partition(" ")
    topology = read_graph(data / f"{bare}.graph")
    files = [file for file in (data / f"{bare}.0000.demands", data / f"{bare}.demands") if file.is_file() and not kind]
    demands = read_demands(files[0], topology, CLASS.name) if files else gravity(topology)
    return scaled(name, topology, demands, k, load)


def scaled(name, topology, demands, k, load):
    """Return the instance in which shortest paths by delay bring the worst link to the load."""
    paths = candidate_paths(topology, demands, (CLASS,), (), k)
    rate = np.array([demand.rate_mbps for demand in demands])
    first = np.zeros(len(paths.delay_us))
    able = np.diff(paths.demand_start) > 0
    first[paths.demand_start[:-1][able]] = rate[able]
    load_mbps = paths.loads(first, len(topology.links))
    worst = float((load_mbps / topology.capacity_mbps)[load_mbps > 0].max())
    factor = load / worst
    made = tuple(replace(demand, rate_mbps=demand.rate_mbps * factor) for demand in demands)
    return Instance(name, k, load, topology, made, paths)


def gravity(topology, seed=_SEED):
    """Demands between all pairs of nodes, each the product of their masses.

    A node's mass is the capacity that leaves it times a log-normal draw (Roughan, Simplifying the synthesis of
    Internet traffic matrices, CCR 2005). The same seed gives the same demands.
    """
    nodes = len(topology.nodes)
    draw = np.random.default_rng(seed)
    mass = np.bincount(topology.source, topology.capacity_mbps, nodes) * draw.lognormal(0.0, 1.0, nodes)
    rate = np.outer(mass, mass) / mass.sum()
    names = [node.name for node in topology.nodes]
    return tuple(
        Demand(f"{names[a]}-{names[b]}", CLASS.name, names[a], names[b], float(rate[a, b]))
        for a in range(nodes)
        for b in range(nodes)
        if a != b and rate[a, b] > 0
    )
