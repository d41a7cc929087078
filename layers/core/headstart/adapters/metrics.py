"""Metrics as CloudWatch embedded metric format: log lines, so no call is made for them."""

from aws_lambda_powertools.metrics import MetricUnit, single_metric

NAMESPACE = "Headstart"


class EmfMetrics:
    """The Metrics port; each measurement is one line on standard output."""

    def count(self, name: str, value: int = 1, **dimensions: str) -> None:
        """Count something that happened."""
        _write(name, MetricUnit.Count, value, dimensions)

    def milliseconds(self, name: str, value: int, **dimensions: str) -> None:
        """Record how long something took."""
        _write(name, MetricUnit.Milliseconds, value, dimensions)


def _write(name: str, unit: MetricUnit, value: int, dimensions: dict[str, str]) -> None:
    with single_metric(name=name, unit=unit, value=value, namespace=NAMESPACE) as metric:
        for key, text in (dimensions or {"Service": "headstart"}).items():
            metric.add_dimension(name=key, value=text)
