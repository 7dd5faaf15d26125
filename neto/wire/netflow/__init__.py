"""NetFlow v5, v9 and IPFIX: datagrams -> flow records as columns. Sans-IO.

decode.py     datagrams in, `Flows` out; what is malformed is counted and reported, never raised.
records.py    `Flows`: the records of one data set behind columns; where units change.
templates.py  template records -> `Layout`: numpy's view of a record, or how to walk one whose lengths vary.
sampling.py   how much each exporter left out, as its options say.
sequence.py   what was lost on the way, as sequence numbers say.
elements.py   the elements that are read, and which of them stands for what.
"""

from neto.wire.netflow.decode import Decoded, Decoder
from neto.wire.netflow.records import Flows

__all__ = ["Decoded", "Decoder", "Flows"]
