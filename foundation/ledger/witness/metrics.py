"""What Prometheus hears of a witness."""

from prometheus_client import Counter, Gauge

COSIGNED = Counter("domicile_witness_cosigned_total", "Checkpoints that this witness has cosigned", ["log"])
REFUSED = Counter("domicile_witness_refused_total", "Submissions that this witness has refused", ["why"])
SIZE = Gauge("domicile_witness_size", "Entries under the checkpoint that this witness cosigned last", ["log"])
FORKED = Gauge(
    "domicile_witness_forked", "1 where a log has signed two histories; the proof lies in the folder", ["log"]
)
