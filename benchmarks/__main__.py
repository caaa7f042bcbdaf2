"""``make bench``: all benchmarks of the running service, on one service and one Postgres, beside the design's goals."""

from benchmarks import allocate, batch, history, killed, proofs
from benchmarks.command import run

if __name__ == "__main__":
    # The last one kills processes of the service.
    run("benchmarks", __doc__ or "", allocate.measure, batch.measure, history.measure, proofs.measure, killed.measure)
