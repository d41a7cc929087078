"""What a function's code can reach, its policies allow: no emulator checks IAM, so this must.

The calls are found by reading the code: from a handler through the use cases to the ports, and by
way of errands: who names one may have it to do, and what does it stands in one table.
"""

import ast
from collections.abc import Iterator
from functools import cache
from pathlib import Path
from typing import Any

import pytest

from headstart.domain.errands import Errand
from headstart.usecases.ports import Store
from headstart_local.packaging import read_template

ROOT = Path(__file__).parents[2]
CORE = ROOT / "layers" / "core" / "headstart"
ERRANDS = CORE / "domain" / "errands.py"
FOLLOWING = CORE / "usecases" / "change.py"
FUNCTIONS = sorted(path.parent.name for path in (ROOT / "functions").glob("*/app.py"))
RESOURCES = read_template(ROOT / "template.yaml")["Resources"]
ACTIONS = {
    "machine.start": ["states:StartExecution"],
    "machine.stop": ["states:StopExecution"],
    "machine.status": ["states:DescribeExecution"],
    "machine.succeed": ["states:SendTaskSuccess"],
    "machine.fail": ["states:SendTaskFailure"],
    "machine.beat": ["states:SendTaskHeartbeat"],
    "sandboxes.start": ["ecs:RunTask", "ecs:TagResource", "iam:PassRole"],
    "sandboxes.stop": ["ecs:StopTask"],
    "sandboxes.is_alive": ["ecs:DescribeTasks"],
    "sandboxes.started": ["ecs:ListTasks", "ecs:DescribeTasks"],
    "objects.presign_put": ["s3:PutObject"],
    "objects.presign_get": ["s3:GetObject"],
    "objects.read": ["s3:GetObject"],
    "objects.is_there": ["s3:GetObject", "s3:ListBucket"],
    "objects.copy": ["s3:GetObject", "s3:PutObject"],
    "objects.listed": ["s3:ListBucket"],
    "objects.drop": ["s3:DeleteObject"],
    "objects.delete": ["s3:ListBucket", "s3:DeleteObject"],
    "secrets.read": ["secretsmanager:GetSecretValue"],
    "github.token": ["kms:Sign"],
    "sealing.public_key": ["kms:GetPublicKey"],
    "sealing.unwrap": ["kms:Decrypt"],
    "callback_queue.put": ["sqs:SendMessage"],
    "callback_queue.put_off": ["sqs:ChangeMessageVisibility"],
    "signing.secrets": ["secretsmanager:GetSecretValue"],
    "receivers.post": [],
    "sockets.post": ["execute-api:ManageConnections"],
    "sockets.close": ["execute-api:ManageConnections"],
    "sockets.for_each": [],
}
TABLE = {
    # What an earlier version wrote is read row by row.
    "load": ["Query", "GetItem"],
    "named": ["BatchGetItem"],
    # A transaction needs the permission of each item's own operation.
    "create": ["PutItem", "UpdateItem", "DeleteItem"],
    "commit": ["PutItem", "UpdateItem", "DeleteItem"],
    "session": ["GetItem"],
    "sessions_of": ["Query", "BatchGetItem"],
    "due": ["Query"],
    "messages_page": ["Query"],
    "events_after": ["Query"],
    "texts": ["Query"],
    "text_pieces": ["Query"],
    "forget_key": ["DeleteItem"],
    "places": ["GetItem"],
    "free_places": ["UpdateItem"],
    "line": ["Query"],
    "forget_waiting": ["DeleteItem", "UpdateItem"],
    "prepared_before": ["BatchGetItem"],
    "put_tree": ["GetItem", "PutItem"],
    "put_ticket": ["PutItem"],
    "ticket": ["GetItem"],
    "let_in": ["ConditionCheckItem", "PutItem"],
    "connection": ["GetItem"],
    "remove_connection": ["DeleteItem"],
    "callbacks_due": ["Query", "BatchGetItem"],
    "forget_callbacks": ["DeleteItem"],
    "purge": ["GetItem", "Query", "BatchWriteItem", "DeleteItem"],
}
ACTIONS |= {
    f"store.{method}": [f"dynamodb:{operation}" for operation in operations]
    for method, operations in TABLE.items()
}
"""What a port's method needs; a method of these ports that isn't here fails the test."""

TAKING = {"callbacks": {"sqs:ReceiveMessage", "sqs:DeleteMessage", "sqs:GetQueueAttributes"}}
"""What Lambda does in a function's name ("Configuring permissions", Lambda with Amazon SQS)."""

PORTS = {name.partition(".")[0] for name in ACTIONS}


@cache
def tree(path: Path) -> ast.Module:
    return ast.parse(path.read_text())


def imported(path: Path) -> dict[str, tuple[Path, str]]:
    """Return our modules and functions that a file imports, by the name it knows them by."""
    found = {}
    for node in ast.walk(tree(path)):
        if isinstance(node, ast.ImportFrom) and (node.module or "").startswith("headstart"):
            for alias in node.names:
                module = ROOT / "layers" / "core" / Path(*(node.module or "").split("."))
                name = alias.asname or alias.name
                if (module / f"{alias.name}.py").exists():
                    found[name] = (module / f"{alias.name}.py", "")
                else:
                    found[name] = (module.with_suffix(".py"), alias.name)
    return found


def definitions(path: Path) -> dict[str, ast.AST]:
    kinds = (ast.FunctionDef, ast.ClassDef)
    return {node.name: node for node in tree(path).body if isinstance(node, kinds)}


def mentioned(path: Path, node: ast.AST) -> Iterator[tuple[Path, str]]:
    """Yield the functions that a piece of code mentions: its own module's and imported ones."""
    names, own = imported(path), definitions(path)
    for part in ast.walk(node):
        if isinstance(part, ast.Name):
            if part.id in own:
                yield path, part.id
            elif part.id in names and names[part.id][1]:
                yield names[part.id]
        elif isinstance(part, ast.Attribute) and isinstance(part.value, ast.Name):
            module, name = names.get(part.value.id, (path, "-"))
            if not name:
                yield module, part.attr


def calls(node: ast.AST) -> Iterator[str]:
    """Yield `port.method` for every `….port.method` in a piece of code."""
    for part in ast.walk(node):
        owner = part.value if isinstance(part, ast.Attribute) else None
        if isinstance(owner, ast.Attribute) and owner.attr in PORTS:
            yield f"{owner.attr}.{part.attr}"


@cache
def doers() -> dict[str, str]:
    """Return which function does each errand, as the one table of them has it."""
    for node in tree(FOLLOWING).body:
        if isinstance(node, ast.AnnAssign) and ast.unparse(node.target) == "DOERS":
            assert isinstance(node.value, ast.Dict)
            pairs = zip(node.value.keys, node.value.values, strict=True)
            return {
                ast.unparse(key).split(".")[-1]: ast.unparse(doer) for key, doer in pairs if key
            }
    pytest.fail("there is no table of errands")


@cache
def reached(function: str) -> frozenset[str]:
    """Return the ports' methods that a function's handler can get to."""
    app = ROOT / "functions" / function / "app.py"
    waiting = [(app, name) for name in definitions(app)]
    seen: set[tuple[Path, str]] = set()
    found: set[str] = set()
    while waiting:
        path, name = waiting.pop()
        if path == ERRANDS and name in doers():
            path, name = FOLLOWING, doers()[name]
        node = definitions(path).get(name) if path.exists() else None
        if (path, name) in seen or node is None:
            continue
        seen.add((path, name))
        found |= set(calls(node))
        waiting += mentioned(path, node)
    return frozenset(found)


def as_list(value: Any) -> list[Any]:
    return value if isinstance(value, list) else [value]


def logical_id(function: str) -> str:
    return "".join(part.capitalize() for part in function.split("_")) + "Function"


def policies(function: str) -> list[dict[str, Any]]:
    """Return a function's policies."""
    found: list[dict[str, Any]] = RESOURCES[logical_id(function)]["Properties"]["Policies"]
    return found


def allowed(function: str) -> set[str]:
    """Return the actions that a function's policies allow."""
    actions: set[str] = set()
    for policy in policies(function):
        shared = RESOURCES.get(policy.get("Ref"), {}).get("Properties", {})
        for statement in shared.get("PolicyDocument", policy)["Statement"]:
            actions |= set(as_list(statement["Action"]))
    return actions


def own_variables(function: str) -> set[str]:
    """Return the variables that a function has beside everybody's."""
    properties = RESOURCES[logical_id(function)]["Properties"]
    return set(properties.get("Environment", {}).get("Variables", {}))


def needed(function: str) -> set[str]:
    """Return the actions that a function's code can get to."""
    return {action for call in reached(function) for action in ACTIONS[call]} | TAKING.get(
        function, set()
    )


@pytest.mark.parametrize("function", FUNCTIONS)
def test_a_function_may_do_what_its_code_can_reach(function: str) -> None:
    assert needed(function) - allowed(function) == set()


@pytest.mark.parametrize("function", FUNCTIONS)
def test_a_function_may_do_no_more_than_its_code_can_reach(function: str) -> None:
    """Presigned URLs are as good as the rights of who signed them, so this is what keys reach."""
    assert allowed(function) - needed(function) == set()


def test_every_errand_has_its_doer_and_every_method_of_the_table_its_rights() -> None:
    assert set(doers()) == {kind.__name__ for kind in Errand.__subclasses__()}
    assert set(TABLE) == {name for name in vars(Store) if not name.startswith("_")}


def test_the_search_finds_what_is_known_to_be_there() -> None:
    assert {"machine.start", "machine.stop", "sandboxes.stop"} <= reached("http_api")
    assert "sandboxes.start" in reached("run_step")
    assert {"machine.succeed", "machine.beat", "sockets.post"} <= reached("socket")
    reads = {"store.load", "store.named", "store.session"}
    assert reached("wait") == reads


def test_an_errand_is_within_reach_of_those_alone_who_may_ask_for_it() -> None:
    """Whoever changes a session does what follows; what may follow is not the same for all."""

    def reaching(call: str) -> list[str]:
        return [name for name in FUNCTIONS if call in reached(name)]

    changing = reaching("store.commit")
    assert changing == [name for name in FUNCTIONS if name != "wait"]
    assert reaching("machine.start") == reaching("sandboxes.stop") == changing
    assert reaching("secrets.read") == ["run_step", "socket"]
    assert reaching("machine.beat") == reaching("objects.presign_put") == ["socket"]
    assert reaching("objects.is_there") == ["janitor", "sandbox_stopped", "socket"]


def test_one_function_alone_may_start_containers() -> None:
    assert [name for name in FUNCTIONS if "ecs:RunTask" in allowed(name)] == ["run_step"]


def test_only_who_starts_agents_may_read_their_secrets() -> None:
    readers = [name for name in FUNCTIONS if "secretsmanager:GetSecretValue" in allowed(name)]
    assert readers == ["callbacks", "run_step", "socket"]
    assert [name for name in FUNCTIONS if "secrets.read" in reached(name)] == readers[1:]
    assert {"Ref": "ProviderSecretPolicy"} not in policies("callbacks")
    # And the settings that name them, which are too large to be everybody's.
    named = [name for name in FUNCTIONS if "HEADSTART_PROVIDER" in own_variables(name)]
    assert named == readers[1:]


def test_one_function_alone_may_sign_as_the_app_and_with_its_key_only() -> None:
    assert [name for name in FUNCTIONS if "kms:Sign" in allowed(name)] == ["socket"]
    [statement] = [
        statement
        for policy in RESOURCES["SocketFunction"]["Properties"]["Policies"]
        for statement in policy.get("Statement", [])
        if statement["Action"] == "kms:Sign"
    ]
    assert statement["Resource"]["Fn::If"][:2] == ["HasGitHubApp", {"Ref": "GitHubAppKeyArn"}]


def test_only_who_sends_steps_may_open_keys_of_secrets_and_the_api_alone_shows_the_public_one() -> (
    None
):
    def allowing(action: str) -> list[str]:
        return [name for name in FUNCTIONS if action in allowed(name)]

    assert allowing("kms:Decrypt") == ["run_step", "socket"]
    assert allowing("kms:GetPublicKey") == ["http_api"]


def test_no_key_is_used_but_by_an_alias_of_the_stacks_own_secrets() -> None:
    roles = ("AWS::Serverless::Function", "AWS::IAM::ManagedPolicy")
    statements = [
        statement
        for made in RESOURCES.values()
        if made["Type"] in roles
        for policy in made["Properties"].get("Policies", [made["Properties"].get("PolicyDocument")])
        for statement in policy.get("Statement", [])
        if statement["Action"] in ("kms:Decrypt", "kms:GetPublicKey")
    ]
    assert len(statements) == 2
    for statement in statements:
        [aliases] = statement["Condition"]["ForAnyValue:StringLike"].items()
        assert aliases == ("kms:ResourceAliases", {"Fn::Sub": "alias/${AWS::StackName}/secrets*"})


def test_one_function_alone_calls_receivers_and_may_read_what_signs() -> None:
    assert [name for name in FUNCTIONS if "receivers.post" in reached(name)] == ["callbacks"]
    assert [name for name in FUNCTIONS if "signing.secrets" in reached(name)] == ["callbacks"]
    [own] = [policy for policy in policies("callbacks") if "Statement" in policy]
    assert [s["Resource"] for s in own["Statement"]] == [
        {"Fn::GetAtt": ["CallbackQueue", "Arn"]},
        {"Ref": "CallbackSecret"},
    ]


def test_only_who_looks_for_a_copy_may_write_one_and_one_alone_has_it_sent() -> None:
    writers = [name for name in FUNCTIONS if "s3:PutObject" in allowed(name)]
    assert writers == ["janitor", "sandbox_stopped", "socket"]
    assert [name for name in FUNCTIONS if "objects.copy" in reached(name)] == writers
    assert [name for name in FUNCTIONS if "objects.presign_put" in reached(name)] == ["socket"]


def test_only_who_hands_archives_out_may_sign_for_them() -> None:
    readers = [name for name in FUNCTIONS if "objects.presign_get" in reached(name)]
    assert readers == ["http_api", "run_step", "socket"]


def test_long_polls_only_read() -> None:
    assert allowed("wait") == {"dynamodb:GetItem", "dynamodb:Query", "dynamodb:BatchGetItem"}


def test_every_policy_is_somebodys() -> None:
    policies = {
        name for name, made in RESOURCES.items() if made["Type"] == "AWS::IAM::ManagedPolicy"
    }
    used = {
        policy.get("Ref")
        for made in RESOURCES.values()
        if made["Type"] == "AWS::Serverless::Function"
        for policy in made["Properties"]["Policies"]
    }
    assert policies == used - {None}
