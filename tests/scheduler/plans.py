"""Small plans to schedule."""

from ipaddress import IPv4Network

from neto.model.announcement import Adjustment, AnnouncementKey
from neto.model.intent import Intents
from neto.model.inventory import Inventory, Router, Site
from neto.model.plan import AnnouncementMove, MoveKind, Plan, PolicyMove, RouteMove, Step, Urgency
from neto.model.sr import ForwardingState, PolicyKey, Route, RouteKey, Segment, SegmentList, SrPolicy
from neto.scheduler.constraints import Constraints

ROUTERS = ("lon1", "lon2", "nyc1", "nyc2", "par1")
LOOPBACK = {name: f"10.255.0.{number}" for number, name in enumerate(ROUTERS, start=1)}
PREFIX = IPv4Network("10.5.0.0/18")


def inventory(**changes):
    return Inventory(
        tuple(Site(site, "region") for site in ("lon", "nyc", "par")),
        tuple(
            Router(name, name[:3], LOOPBACK[name], "lab", "127.0.1.1", prefixes=(PREFIX,), **changes)
            for name in ROUTERS
        ),
    )


def constraints(**changes):
    rules = {"intents": Intents(()), "concurrency": 16, "per_site": 16, "vet": lambda _: "", **changes}
    return Constraints(inventory(), **rules)


def policy(device, *labels, colour=1001, weight=1, endpoint="10.255.0.5"):
    segments = tuple(Segment(label) for label in labels)
    return SrPolicy(PolicyKey(device, colour, endpoint), (SegmentList(segments, weight),))


def install(device, *labels, **rest):
    wanted = policy(device, *labels, **rest)
    return PolicyMove(MoveKind.INSTALL_POLICY, wanted.key, wanted)


def replace(device, *labels, **rest):
    wanted = policy(device, *labels, **rest)
    return PolicyMove(MoveKind.REPLACE_POLICY, wanted.key, wanted)


def remove(device, **rest):
    return PolicyMove(MoveKind.REMOVE_POLICY, policy(device, 16001, **rest).key, None)


def announce(device, colour=1000, prefix=PREFIX, next_hop="10.255.0.5"):
    key = RouteKey(device, prefix)
    return RouteMove(key, Route(key, next_hop, colour))


def withdraw(device, prefix=PREFIX):
    return RouteMove(RouteKey(device, prefix), None)


def adjust(device, prefix=PREFIX, peer="100.64.1.2", **what):
    key = AnnouncementKey(device, peer, prefix)
    return AnnouncementMove(key, Adjustment(key, **what) if what else None)


def plan(*steps):
    return Plan(Urgency.OPTIMISE, tuple(Step(tuple(moves), 0.5) for moves in steps))


def state(*moves):
    """What a device shows once it has done these moves."""
    policies = {m.key: m.policy for m in moves if isinstance(m, PolicyMove) and m.policy}
    routes = {m.key: m.route for m in moves if isinstance(m, RouteMove) and m.route}
    adjustments = {m.key: m.adjustment for m in moves if isinstance(m, AnnouncementMove) and m.adjustment}
    return ForwardingState(policies, routes, adjustments)
