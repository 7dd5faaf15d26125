"""What an emulated router's show commands print. Shapes follow FRR: pathd's detail text, bgpd's detail JSON."""

from __future__ import annotations

import json
from collections.abc import Iterator
from ipaddress import IPv4Network
from typing import Any

from neto.lab.configuration import EVERY_OTHER_DSCP, Configuration, PolicyId
from neto.lab.router import LabRouter
from neto.lab.state import LabRoute

VERSION = "NetO lab router 1.0, in the manner of FRRouting"


def version(router: LabRouter) -> str:
    """`show version`."""
    return f"{VERSION} ({router.state.name})."


def running_config(router: LabRouter) -> str:
    """`show running-config`."""
    head = ["Building configuration...", "", "Current configuration:", "!", f"hostname {router.state.name}", "!"]
    body = list(router.running.lines())
    return "\n".join([*head, *body, *(["!"] if body else []), "end"])


def policy_detail(router: LabRouter) -> str:
    """`show sr-te policy detail`: pathd's lines, and below each list its labels and weight."""
    if not router.running.policies:
        return "No SR Policies to display.\n"
    return "\n" + "\n".join("\n".join(_policy(router, key)) + "\n" for key in sorted(router.running.policies))


def _policy(router: LabRouter, key: PolicyId) -> Iterator[str]:
    configuration: Configuration = router.running
    policy = configuration.policies[key]
    status = "Active" if _valid(router, key) else "Inactive"
    yield f"Endpoint: {key[1]}  Color: {key[0]}  Name: {policy.name}  BSID: -  Status: {status}"
    for each in policy.lists.values():
        labels = configuration.labels(each.segment_list)
        valid = router.validity(labels)
        path = f"Preference: {each.preference}  Name: {each.name}  Type: explicit  Segment-List: {each.segment_list}"
        yield f"  {'*' if valid else ' '} {path}  Protocol-Origin: Local"
        yield f"      Weight: {each.weight}  Labels: {'/'.join(map(str, labels))}  Valid: {'yes' if valid else 'no'}"
    for dscp, colour in sorted(policy.per_flow.items(), reverse=True):
        yield f"    Per-Flow: {'default' if dscp == EVERY_OTHER_DSCP else f'dscp {dscp}'}  Color: {colour}"


def _valid(router: LabRouter, key: PolicyId) -> bool:
    """Tell whether a policy can forward: by a list of its own, or by a policy that it maps to."""
    policy = router.running.policies.get(key)
    if policy is None:
        return False
    if policy.per_flow:
        return any(_valid(router, (colour, key[1])) for colour in policy.per_flow.values())
    return any(router.validity(router.running.labels(name)) for name in policy.lists)


def bgp_detail(router: LabRouter) -> str:
    """`show bgp ipv4 unicast detail json`."""
    paths: dict[IPv4Network, list[dict[str, Any]]] = {}
    for route in router.state.routes.values():
        paths.setdefault(route.prefix, []).append(_daemon_path(route))
    for other in router.other_routes():
        path = _path(other.next_hop, other.local_preference, other.as_path)
        paths.setdefault(other.prefix, []).append(path)
    routes = {}
    for prefix in sorted(paths):
        best = max(paths[prefix], key=lambda path: int(path["locPrf"]))  # RFC 4271 §9.1.1; the first of equals
        best["bestpath"] = {"overall": True, "selectionReason": "Local Pref"}
        routes[str(prefix)] = {"prefix": str(prefix), "paths": paths[prefix]}
    head = {"vrfId": 0, "vrfName": "default", "routerId": router.state.loopback, "defaultLocPrf": 100}
    return json.dumps({**head, "routes": routes}, indent=1)


def _path(next_hop: str, local_preference: int, as_path: str) -> dict[str, Any]:
    return {
        "aspath": {"string": as_path or "Local", "length": len(as_path.split())},
        "origin": "IGP",
        "locPrf": local_preference,
        "valid": True,
        "nexthops": [{"ip": next_hop, "afi": "ipv4", "accessible": True, "used": True}],
    }


def _daemon_path(route: LabRoute) -> dict[str, Any]:
    path = _path(route.next_hop, route.local_preference, "")
    if route.communities:
        listed = [{"no-export": "noExport"}.get(each, each) for each in route.communities]
        path["community"] = {"string": " ".join(route.communities), "list": listed}
    if route.colour is not None:
        path["extendedCommunity"] = {"string": f"Color:{route.colour}"}
    return path
