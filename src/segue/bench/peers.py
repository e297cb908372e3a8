"""The registry of the libraries that segue is compared with."""

from __future__ import annotations

from segue.bench.faiss_peers import FLAT, faiss_fast_scan, faiss_hnsw, faiss_ivf
from segue.bench.graph_peers import hnswlib, svs, usearch, voyager
from segue.bench.numpy_peer import NUMPY
from segue.bench.peer import Peer, lifted
from segue.bench.tree_peers import annoy, scann

WORTH_LIFTING = [
    hnswlib(16), hnswlib(32), faiss_hnsw(16), faiss_hnsw(32), svs(32), usearch(16, "f32"),
    faiss_ivf(1), faiss_ivf(4), annoy(50),
]  # fmt: skip
PEERS: dict[str, Peer] = {
    peer.name: peer
    for peer in [
        FLAT, NUMPY, *WORTH_LIFTING, *map(lifted, WORTH_LIFTING), svs(64), usearch(16, "bf16"),
        faiss_fast_scan(0), faiss_fast_scan(1), faiss_fast_scan(4),
        scann(0), scann(1), scann(4), scann(1, soar=True), scann(4, soar=True), voyager(16), voyager(32),
    ]
}  # fmt: skip


def select_peers(parts: list[str], metric: str) -> list[Peer]:
    """Return the libraries for a metric that have one of `parts` in their name; all if `parts` is empty."""
    return [
        peer
        for peer in PEERS.values()
        if metric in peer.metrics and (not parts or any(part in peer.name for part in parts))
    ]
