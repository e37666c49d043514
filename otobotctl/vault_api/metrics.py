"""What Prometheus reads. Labels are names of ours: never a user, a token or an address."""

from __future__ import annotations

from typing import Final

from prometheus_client import CONTENT_TYPE_LATEST, CollectorRegistry, Counter, Gauge, Histogram, generate_latest

CONTENT_TYPE: Final = CONTENT_TYPE_LATEST
REGISTRY: Final = CollectorRegistry()
_BUCKETS: Final = (0.001, 0.0025, 0.005, 0.01, 0.025, 0.05, 0.1, 0.25, 0.5, 1.0, 2.5, 10.0)

_REQUESTS: Final = Counter("vault_requests", "Requests answered.", ("route", "method", "status"), registry=REGISTRY)
_LATENCY: Final = Histogram(
    "vault_request_seconds", "How long answers took.", ("route",), buckets=_BUCKETS, registry=REGISTRY
)
DECRYPTS: Final = Counter("vault_decrypts", "Values decrypted, by outcome.", ("outcome",), registry=REGISTRY)
AUDITED: Final = Counter("vault_audit_rows", "Audit rows made durable.", registry=REGISTRY)
REFRESHES: Final = Counter("vault_refreshes", "Refreshes at providers, by outcome.", ("outcome",), registry=REGISTRY)
TOKENS: Final = Gauge("vault_tokens", "Active connections, by state.", ("state",), registry=REGISTRY)
SWEPT: Final = Gauge("vault_refresher_swept", "When the refresher last came through, seconds.", registry=REGISTRY)
DUE: Final = Gauge("vault_refresher_tokens", "Tokens that are to be refreshed.", ("what",), registry=REGISTRY)
POOL: Final = Gauge("vault_pool", "The connection pool.", ("what",), registry=REGISTRY)

_METHODS: Final = frozenset({"GET", "POST", "PUT", "PATCH", "DELETE", "HEAD", "OPTIONS"})
_counters: dict[tuple[str, str, int], Counter] = {}
_histograms: dict[str, Histogram] = {}


def answered(route: str, method: str, status: int, took_s: float) -> None:
    """Count one answer. A method that we do not know is `other`: a caller must not be able to make series."""
    key = (route, method if method in _METHODS else "other", status)
    counter = _counters.get(key)
    if counter is None:
        counter = _counters[key] = _REQUESTS.labels(key[0], key[1], str(status))
        _histograms[route] = _LATENCY.labels(route)
    counter.inc()
    _histograms[route].observe(took_s)


def exposition() -> bytes:
    """Everything, in Prometheus's text format."""
    return generate_latest(REGISTRY)
