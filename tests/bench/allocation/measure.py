"""What an allocation is worth, and what it costs: measured in a process of its own, the same way for everybody."""

from __future__ import annotations

import multiprocessing
import time
from dataclasses import dataclass
from pathlib import Path

import numpy as np

from .linear import OverLimitError

THETA = 1e-4  # of a link's capacity: Soroush's 0.1 where every link has 1000
_REPEAT_S = 2.0  # short runs are repeated for about this long, and the shortest counts
_RUNS = 5
_ONCE_S = 20.0  # longer runs are not repeated
_GRACE_S = 60.0  # beyond its limit a process is ended


@dataclass(frozen=True, eq=False)
class Cost:
    """How one method's run went. Without an answer, flow_mbps is None and status says why."""

    status: str
    flow_mbps: np.ndarray | None = None  # (paths,)
    seconds: float = float("nan")
    cpu_s: float = float("nan")
    peak_mb: float = float("nan")  # of the whole process, interpreter and problem included


@dataclass(frozen=True)
class Worth:
    """What an allocation gives."""

    share: float  # of all demand, carried
    q: float  # closeness to exact max-min fairness
    first_percentile: float  # of rate / exact rate over the demands
    delay_ms: float  # mean over what is carried
    over: float  # how far the worst link is above its capacity, relative; below zero: nothing is full


def theta_mbps(capacity_mbps):
    """Rates below this count as equal: the strictest reading of "0.01 % of link capacity" where capacities differ."""
    return THETA * float(capacity_mbps[capacity_mbps > 0].min())


def closeness(rate_mbps, exact_mbps, theta):
    """Soroush's q: geometric mean, over the demands, of the smaller over the larger of rate and exact rate.

    Both count as theta when they are below. Demands that get nothing under exact fairness do not count. Namyar et al.,
    NSDI 2024, §4.1, and compute_fairness_no in their benchmark_plot_utils.py.
    """
    ratio = _ratio(rate_mbps, exact_mbps, theta)
    return float(np.exp(np.log(np.minimum(ratio, 1 / ratio)).mean())) if len(ratio) else 1.0


def worth(instance, flow_mbps, exact_mbps):
    """Judge path rates (paths,) against the exact rates (demands,)."""
    demand, capacity, paths = instance.demand_mbps, instance.capacity_mbps, instance.paths
    rate = np.bincount(paths.demand_of, flow_mbps, minlength=len(demand))
    ratio = _ratio(rate, exact_mbps, theta_mbps(capacity))
    load, some = paths.loads(flow_mbps, len(capacity)), capacity > 0
    return Worth(
        share=float(rate.sum() / demand.sum()),
        q=closeness(rate, exact_mbps, theta_mbps(capacity)),
        first_percentile=float(np.percentile(ratio, 1)) if len(ratio) else 1.0,
        delay_ms=float(flow_mbps @ paths.delay_us / flow_mbps.sum() / 1000) if flow_mbps.sum() > 0 else 0.0,
        over=float((load[some] / capacity[some]).max() - 1),
    )


def _ratio(rate_mbps, exact_mbps, theta):
    counts = exact_mbps > 0
    return np.maximum(rate_mbps[counts], theta) / np.maximum(exact_mbps[counts], theta)


def measure(solve, instance, limit_s):
    """Run solve(instance, limit_s) -> (paths,) in a fresh process and tell what it took.

    The shortest of a few runs counts (the first one loads compiled code); a run of more than some seconds is the only
    one. CPU seconds are what the ratios are made of: they do not depend on what else the machine does.
    """
    context = multiprocessing.get_context("spawn")
    here, there = context.Pipe(duplex=False)
    process = context.Process(target=_work, args=(there, solve, instance, limit_s), daemon=True)
    process.start()
    there.close()
    try:
        if not here.poll(limit_s + _REPEAT_S + 2 * _GRACE_S):
            return Cost(f"over {limit_s:g} s, and ended")
        return here.recv()
    except EOFError:
        return Cost("ended without an answer")
    finally:
        here.close()
        process.kill()
        process.join()


def _work(pipe, solve, instance, limit_s):
    """Measure in the child."""
    seconds, cpu, flow = [], [], None
    _forget_peak()
    try:
        while len(seconds) < _RUNS and sum(seconds) < (_REPEAT_S if len(seconds) > 1 else _ONCE_S):
            began, cpu_began = time.perf_counter(), time.process_time()
            flow = solve(instance, limit_s)
            seconds.append(time.perf_counter() - began)
            cpu.append(time.process_time() - cpu_began)
    except OverLimitError:
        pipe.send(Cost(f"over {limit_s:g} s"))
    except (RuntimeError, MemoryError) as error:
        pipe.send(Cost(f"failed: {error}"))
    else:
        pipe.send(Cost("done", flow, min(seconds), min(cpu), _peak_mb()))


def _forget_peak():
    """Let the kernel count the peak of memory from here on (proc(5), clear_refs)."""
    Path("/proc/self/clear_refs").write_text("5", encoding="ascii")


def _peak_mb():
    status = Path("/proc/self/status").read_text(encoding="ascii")
    return next(int(line.split()[1]) for line in status.splitlines() if line.startswith("VmHWM")) / 1024
