"""What an attempt took, step by step, as it is told at its end."""

from headstart.domain.model import Model
from headstart.domain.steps import StepName, StepStatus


class StepReceipt(Model):
    """One line of a receipt."""

    step: StepName
    status: StepStatus
    elapsed_ms: int


class TreeReceipt(Model):
    """The prepared tree that a workspace was made of, `age` seconds old.

    `saved` are the milliseconds by which cloning and setting up were shorter than without it.
    """

    age: int
    bytes: int
    saved: int


class Receipt(Model):
    """What an attempt took, in milliseconds, and the container's share of its price.

    `betweenMs` is what the total has beside the steps: in line, and from one step to the next.
    `clonedBytes` is what came over the network; `cached` says that an earlier clone was there;
    `preparedTree` is null where none was adopted.
    """

    attempt_number: int
    total_ms: int
    between_ms: int = 0
    steps: list[StepReceipt]
    cloned_bytes: int | None = None
    cached: bool = False
    prepared_tree: TreeReceipt | None = None
    estimated_dollars: float | None = None
