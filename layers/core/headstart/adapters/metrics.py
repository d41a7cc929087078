"""Metrics as CloudWatch embedded metric format: log lines, so no call is made for them."""

from aws_lambda_powertools.metrics import MetricUnit, single_metric

NAMESPACE = "Headstart"


class EmfMetrics:
    """The Metrics port; each measurement is one line on standard output, and names its stack."""

    def __init__(self, stack: str) -> None:
        self._stack = stack

    def count(self, name: str, value: int = 1, **dimensions: str) -> None:
        """Count something that happened."""
        self._write(name, MetricUnit.Count, value, dimensions)

    def milliseconds(self, name: str, value: int, **dimensions: str) -> None:
        """Record how long something took."""
        self._write(name, MetricUnit.Milliseconds, value, dimensions)

    def bytes(self, name: str, value: int, **dimensions: str) -> None:
        """Record how large something is."""
        self._write(name, MetricUnit.Bytes, value, dimensions)

    def _write(self, name: str, unit: MetricUnit, value: int, dimensions: dict[str, str]) -> None:
        with single_metric(name=name, unit=unit, value=value, namespace=NAMESPACE) as metric:
            for key, text in {"Stack": self._stack, **dimensions}.items():
                metric.add_dimension(name=key, value=text)
