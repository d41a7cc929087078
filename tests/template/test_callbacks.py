"""The queue of callbacks fits the rules of `headstart.domain.callbacks`."""

from datetime import timedelta

from headstart.domain.callbacks import EXCHANGE_TIME, RETRIES, TRIES, read_secret
from headstart.usecases.callbacks import SEND_TIME
from headstart.usecases.janitor import ORPHANS_TIME, SWEEP_TIME
from headstart_local.packaging import read_template
from tests.template.test_sandbox import ROOT

TEMPLATE = read_template(ROOT / "template.yaml")
RESOURCES = TEMPLATE["Resources"]
QUEUE = RESOURCES["CallbackQueue"]["Properties"]
FUNCTION = RESOURCES["CallbacksFunction"]["Properties"]
MAPPING = RESOURCES["CallbacksMapping"]["Properties"]


def test_the_queue_gives_a_message_as_often_as_there_are_tries() -> None:
    assert QUEUE["RedrivePolicy"]["maxReceiveCount"] == TRIES


def test_a_message_outlives_its_tries() -> None:
    latest = sum(RETRIES, timedelta()) * 1.2
    assert timedelta(seconds=QUEUE["MessageRetentionPeriod"]) > latest * 2
    dead = RESOURCES["CallbackFailures"]["Properties"]["MessageRetentionPeriod"]
    # In the dead-letter queue a message is as old as it was ("Configuring retention").
    assert timedelta(seconds=dead) == timedelta(days=14)


def test_nobody_else_gets_a_message_that_is_being_delivered() -> None:
    assert timedelta(seconds=FUNCTION["Timeout"]) > EXCHANGE_TIME * 2
    assert QUEUE["VisibilityTimeout"] >= 6 * FUNCTION["Timeout"]


def test_one_receiver_holds_up_one_message() -> None:
    assert MAPPING["BatchSize"] == 1
    assert MAPPING["FunctionResponseTypes"] == ["ReportBatchItemFailures"]
    assert MAPPING["ScalingConfig"] == {"MaximumConcurrency": {"Ref": "CallbackConcurrency"}}
    # "Set the value ... between 2 and 1000" (Lambda, SQS scaling).
    limits = TEMPLATE["Parameters"]["CallbackConcurrency"]
    assert (limits["MinValue"], limits["MaxValue"]) == (2, 1000)


def test_the_secret_that_is_made_is_one() -> None:
    made = RESOURCES["CallbackSecret"]["Properties"]["GenerateSecretString"]
    assert made["ExcludePunctuation"]
    assert len(read_secret("A" * made["PasswordLength"])) == 33


def test_a_deployment_without_callbacks_makes_nothing_of_them() -> None:
    kept = {
        name
        for name, made in RESOURCES.items()
        if "Callback" in name and made.get("Condition") != "MakesCallbacks"
    }
    assert kept == set()


def test_the_janitor_has_time_for_all() -> None:
    # What is begun at the last moment has the rest.
    spent = SWEEP_TIME + ORPHANS_TIME + SEND_TIME
    assert spent + timedelta(seconds=10) <= timedelta(
        seconds=RESOURCES["JanitorFunction"]["Properties"]["Timeout"]
    )
