"""Prometheus metrics: latency by route, searches, events, model versions."""

from __future__ import annotations

import os

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
MULTIPROCESS = "PROMETHEUS_MULTIPROC_DIR"  # environment variable: the folder in which workers share metrics
SECONDS = (0.0005, 0.001, 0.002, 0.005, 0.01, 0.02, 0.05, 0.1, 0.2, 0.5, 1.0, 5.0)
SIZES = (1, 2, 4, 8, 16, 32, 64, 128, 256, 512)


class Metrics:
    """The metrics of one worker."""

    def __init__(self) -> None:
        self.registry = CollectorRegistry()
        self.latency = self._histogram("segue_request_seconds", "Latency of requests", "route")
        self.responses = self._counter(
            "segue_requests_total", "Requests by route and status", "route", "status"
        )
        self.search = self._histogram("segue_search_seconds", "Duration of a search, for all its queries")
        self.queries = self._histogram("segue_search_queries", "Queries per search", buckets=SIZES)
        self.examined = self._counter("segue_search_examined_total", "Vectors scored by searches")
        self.sources = self._counter("segue_lists_total", "Lists by what they are based on", "source")
        self.events = self._counter("segue_events_total", "Events: new, or known (duplicates)", "outcome")
        self.commits = self._histogram("segue_commit_seconds", "Duration of a commit, for all its events")
        self.swaps = self._counter("segue_swaps_total", "Model versions loaded or refused", "outcome")
        self.model = Gauge(
            "segue_model_number",
            "Number of the model version that is served",
            multiprocess_mode="livemin",
            registry=self.registry,
        )
        self.running = Gauge(
            "segue_requests_running",
            "Requests in progress",
            multiprocess_mode="livesum",
            registry=self.registry,
        )
        self._by_route: dict[tuple[str, int], tuple[Histogram, Counter]] = {}
        self._by_source: dict[str, Counter] = {}

    def count_response(self, route: str, status: int, seconds: float) -> None:
        """Record a response; routes are path templates, so their number is bounded."""
        metrics = self._by_route.get((route, status))
        if metrics is None:
            metrics = self.latency.labels(route), self.responses.labels(route, str(status))
            self._by_route[route, status] = metrics
        metrics[0].observe(seconds)
        metrics[1].inc()

    def count_list(self, source: str) -> None:
        """Record a list by its source."""
        counter = self._by_source.get(source)
        if counter is None:
            counter = self._by_source[source] = self.sources.labels(source)
        counter.inc()

    def render(self) -> bytes:
        """Return the metrics of all workers in the text format of Prometheus."""
        registry = self.registry
        if MULTIPROCESS in os.environ:
            registry = CollectorRegistry()
            MultiProcessCollector(registry)
        return generate_latest(registry)

    def _counter(self, name: str, help_text: str, *labels: str) -> Counter:
        return Counter(name, help_text, labels, registry=self.registry)

    def _histogram(
        self, name: str, help_text: str, *labels: str, buckets: tuple[float, ...] = SECONDS
    ) -> Histogram:
        return Histogram(name, help_text, labels, buckets=buckets, registry=self.registry)
