"""What the emulated routers say of the topology: BGP-LS objects of everything that is up."""

from __future__ import annotations

from collections.abc import Collection
from ipaddress import IPv4Network

from neto.lab.bgpls import EpeLinkSpec, LsLinkSpec, LsNodeSpec, LsPrefixSpec, LsSpec, objects
from neto.lab.scenario import Scenario


def objects_of(scenario: Scenario, down: Collection[str]) -> dict[bytes, bytes]:
    """Return NLRI -> attribute of every node, loopback, link and peering link that is not down."""
    nodes = {
        router.name: LsNodeSpec(router.name, router.loopback, f"0000.0000.{router.number:04d}", scenario.asn)
        for router in scenario.routers
    }
    specs: list[LsSpec] = list(nodes.values())
    specs += [
        LsPrefixSpec(nodes[router.name], IPv4Network(router.loopback), sid_index=router.number)
        for router in scenario.routers
    ]
    for cable in scenario.cables:
        if cable.name in down:
            continue
        if cable.target:
            specs.append(
                LsLinkSpec(
                    nodes[cable.source],
                    nodes[cable.target],
                    cable.local_address,
                    cable.remote_address,
                    cable.capacity_mbps,
                    igp_metric=cable.metric,
                    delay_us=round(cable.delay_us),
                    srlgs=cable.srlgs,
                    adjacency_sid=cable.label,
                    name=cable.name,
                )
            )
        elif cable.local_address and cable.remote_address:  # nothing tells it without
            specs.append(
                EpeLinkSpec(
                    nodes[cable.source],
                    scenario.isp_asn[cable.isp],
                    cable.remote_address,
                    cable.local_address,
                    cable.remote_address,
                    cable.label,
                )
            )
    return objects(specs)
