"""What the service counts, for Prometheus: latency by route, searches, fallbacks, swaps, events."""

from __future__ import annotations

import os
from typing import Any

from prometheus_client import (
    CONTENT_TYPE_LATEST,
    CollectorRegistry,
    Counter,
    Gauge,
    Histogram,
    generate_latest,
)
from prometheus_client.multiprocess import MultiProcessCollector

CONTENT_TYPE = CONTENT_TYPE_LATEST
SHARED = "PROMETHEUS_MULTIPROC_DIR"  # names the folder through which workers add up
SECONDS = (0.0005, 0.001, 0.002, 0.005, 0.01, 0.02, 0.05, 0.1, 0.2, 0.5, 1.0, 5.0)
SIZES = (1, 2, 4, 8, 16, 32, 64, 128, 256, 512)


class Metrics:
    """The counters of one worker."""

    def __init__(self) -> None:
        self.registry = CollectorRegistry()
        made: dict[str, Any] = {"registry": self.registry}
        self.latency = Histogram(
            "segue_request_seconds", "Time of a request", ["route"], buckets=SECONDS, **made
        )
        self.answers = Counter("segue_requests_total", "Requests answered", ["route", "status"], **made)
        self.search = Histogram(
            "segue_search_seconds",
            "Time of a search, of all queries that it answers",
            buckets=SECONDS,
            **made,
        )
        self.queries = Histogram("segue_search_queries", "Queries of a search", buckets=SIZES, **made)
        self.examined = Counter("segue_search_examined_total", "Vectors scored by searches", **made)
        self.sources = Counter(
            "segue_lists_total", "Lists, by what is known of the person", ["source"], **made
        )
        self.events = Counter("segue_events_total", "Events, by what became of them", ["outcome"], **made)
        self.commits = Histogram(
            "segue_commit_seconds", "Time of a commit, of all events that it writes", buckets=SECONDS, **made
        )
        self.swaps = Counter(
            "segue_swaps_total", "Versions of the model taken or refused", ["outcome"], **made
        )
        self.model = Gauge(
            "segue_model_number", "The number of the version served", multiprocess_mode="livemin", **made
        )
        self.busy = Gauge(
            "segue_requests_running", "Requests being worked on", multiprocess_mode="livesum", **made
        )
        self._answered: dict[tuple[str, int], tuple[Any, Any]] = {}
        self._sources: dict[str, Any] = {}

    def answered(self, route: str, status: int, seconds: float) -> None:
        """Count an answer; the routes are templates, so there are few of them."""
        pair = self._answered.get((route, status))
        if pair is None:
            pair = self.latency.labels(route), self.answers.labels(route, str(status))
            self._answered[route, status] = pair
        pair[0].observe(seconds)
        pair[1].inc()

    def listed(self, source: str) -> None:
        """Count a list by what it was made from."""
        counter = self._sources.get(source)
        if counter is None:
            counter = self._sources[source] = self.sources.labels(source)
        counter.inc()

    def render(self) -> bytes:
        """Return the text that Prometheus reads, of all workers where there are several."""
        registry = self.registry
        if SHARED in os.environ:
            registry = CollectorRegistry()
            MultiProcessCollector(registry)
        return generate_latest(registry)
