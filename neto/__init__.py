"""NetO: one asyncio daemon that runs a WAN, traffic engineering and peering as one decision.

The figure in words, and who may import whom::

            operators' intents (TOML, SIGHUP)
                     |
 monitoring agents   v       controller              task scheduler       updating agents
 BGP-LS   ------> Snapshot -> allocation+peering --> Plan -> tasks -----> BGP  (exabgp)  -> routers
 NetFlow  ------>    ^        -> transition             |                 CLI  (netmiko)
                     persistent store: every stage's input and output, per cycle

 model/       nouns: frozen dataclasses and the arrays behind them. Imports nothing of ours but errors.
 jit.py       numerical kernels, compiled on first use. Imports nothing of ours.
 errors.py    the few kinds of error, by whose fault they are.
 controller/  pure, synchronous, no I/O, a clock for deadlines only: paths, allocation, segments, transition, cycle.
 wire/        sans-IO codecs, bytes or text <-> model: bgp, bgpls, bmp, netflow, exabgp, dialects/.
 scheduler/   a plan's progress as a state machine, and the runner that drives the agents with it.
 store/       the persistent store: one protocol, SQLite behind it.
 ha/          leadership on one host: flock, epoch, heartbeat, fencing.
 agents/      the only code that touches the network: monitoring/ listens, updating/ pushes and reads back.
 settings/    neto.toml and the files it names -> nouns; every problem at once, with file, line and key.
 operation/   what a leader does, cycle after cycle: whether to believe its inputs, how far to go, what to tell people.
 daemon.py    composition root: builds every part, owns the task groups, signals, sd_notify.
 collector.py the same for a NetFlow collector that stands apart from the daemon.
 log.py       what the log looks like.
 cli/         the operator's command line.
 lab/         an emulated WAN that speaks the real protocols: the demo, the tests' world, the judge.

Imports run one way:
model, errors, jit <- controller, wire <- scheduler, store, ha <- agents <- settings <- operation <- daemon, cli.
The controller and the agents never import each other; they share nouns. The lab judges the daemon and must not share
its reading of anything: it takes only errors and the process leash from elsewhere.
"""
