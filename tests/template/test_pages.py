"""What README and docs say of a deployment, against the template: names, numbers, order, links."""

import json
import re
import tomllib
from datetime import timedelta
from pathlib import Path

import pytest
import yaml

from headstart.domain.policy import Policy
from headstart_demo_agent.asking import wanted
from headstart_local.packaging import read_template
from tests.template.test_sandbox import ROOT

TEMPLATE = read_template(ROOT / "template.yaml")
README = (ROOT / "README.md").read_text()
DEPLOY = (ROOT / "docs" / "deploy.md").read_text()
PAGES = [
    *(ROOT / name for name in ("README.md", "CONTRIBUTING.md", "client/README.md")),
    *sorted((ROOT / "docs").glob("*.md")),
]
ROLE = "aws iam create-service-linked-role --aws-service-name ecs.amazonaws.com"


@pytest.mark.parametrize("page", [README, DEPLOY], ids=["README", "deploy"])
def test_the_role_of_ecs_comes_before_the_deployment(page: str) -> None:
    assert 0 < page.index(ROLE) < page.index("sam deploy")


def test_the_first_deployment_asks_nothing_that_the_projects_own_file_answers() -> None:
    # Guided, SAM would write every parameter into that file.
    assert "sam deploy --guided" not in README + DEPLOY
    given = tomllib.loads((ROOT / "samconfig.toml").read_text())["default"]["deploy"]["parameters"]
    assert f"--stack-name {given['stack_name']} " in README
    assert (given["resolve_s3"], given["capabilities"]) == (True, "CAPABILITY_IAM")
    assert given["confirm_changeset"]


def test_every_step_of_the_first_deployment_has_its_row_and_what_it_looks_like() -> None:
    steps = re.findall(r" # (\d)\b", README[README.index("## Deploy it") :])
    rows = re.findall(r"^\| (\d)\. [^|]+\| [^|]+ \| [^|]+ \|$", DEPLOY, re.MULTILINE)
    assert steps == rows == [str(number) for number in range(9)]


def test_outputs_that_are_asked_for_are_there() -> None:
    asked = set(re.findall(r"\$\(output (\w+)\)", README + DEPLOY))
    assert asked
    assert asked <= set(TEMPLATE["Outputs"])


def test_a_fresh_machine_has_what_the_readme_calls() -> None:
    blocks = re.findall(r"```sh\n(.+?)```", README, re.DOTALL)
    lines = [line for block in blocks for line in block.replace("\\\n", " ").splitlines()]
    begun = {line.split()[0] for line in lines if line and "=" not in line.split()[0]}
    inside = set(re.findall(r"\$\((\w+)", "\n".join(lines)))
    asked_for = {"aws", "sam", "docker", "make", ".venv/bin/headstart"}
    assert begun | inside <= asked_for | {"export", "curl", "output()", "output", "--query", "}"}


def test_the_demo_agent_asks_where_its_document_says_so() -> None:
    page = (ROOT / "docs" / "agents.md").read_text()
    phrases = re.findall(r'"(ask me[^"]*)"', page)
    assert [wanted(f"Please {phrase}.") for phrase in phrases] == ["permission", "question"]


@pytest.mark.parametrize("page", PAGES, ids=lambda page: page.name)
def test_parameters_that_are_set_are_the_templates(page: Path) -> None:
    named = set(re.findall(r"[`' ]([A-Z][a-z]+[A-Z]\w*)=", page.read_text()))
    assert named <= set(TEMPLATE["Parameters"])


def test_the_files_of_parameters_are_what_they_say() -> None:
    given: dict[str, object] = {}
    for block in re.findall(r"```yaml\n(.+?)```", DEPLOY, re.DOTALL):
        given |= yaml.safe_load(block)
    assert {"ProviderConfig", "RepositoryAccess"} < set(given) <= set(TEMPLATE["Parameters"])
    for name, value in given.items():
        pattern = TEMPLATE["Parameters"][name].get("AllowedPattern", "[\\s\\S]*")
        assert re.fullmatch(pattern, str(value)), name
    assert json.loads(str(given["ProviderConfig"]))
    assert json.loads(str(given["RepositoryAccess"]))


def test_every_alarm_is_counted_and_has_its_advice() -> None:
    alarms = [
        name
        for name, made in TEMPLATE["Resources"].items()
        if made["Type"] == "AWS::CloudWatch::Alarm"
    ]
    assert f"{len(alarms)} alarms ({len(alarms) * 0.1:.2f})" in DEPLOY
    advice = section("When an alarm rings")
    assert {name for name in alarms if f"`{name}`" not in advice} == set()


def test_what_stays_after_the_deletion_is_told() -> None:
    kept = {
        name
        for name, made in TEMPLATE["Resources"].items()
        if "Retain" in made.get("DeletionPolicy", "")
    }
    assert kept == {"Table", "Archives", "UserPool"}
    [setting] = TEMPLATE["Resources"]["Cluster"]["Properties"]["ClusterSettings"]
    assert setting == {"Name": "containerInsights", "Value": "enabled"}
    # AWS makes it, and no stack knows of it ("Container Insights performance log reference").
    assert "/aws/ecs/containerinsights/$CLUSTER/performance" in section("Deleting it")


def test_what_a_deleted_session_leaves_in_the_table_is_told() -> None:
    told = section("What is kept, who can read it, and for how long")
    policy = Policy(stream_url="wss://x")
    lives = (policy.key_life, policy.ticket_life, policy.connection_life)
    assert lives == (timedelta(hours=24), timedelta(minutes=1), timedelta(hours=3))
    assert re.search(
        r"Key`[^(]+\(24 h.+tickets [^(]+\(a minute.+connections [^(]+\(3 h", told, re.S
    )


def test_the_requests_for_the_tables_key_are_among_the_costs() -> None:
    # So it is `aws/dynamodb`, whose requests are billed ("DynamoDB encryption at rest").
    assert TEMPLATE["Resources"]["Table"]["Properties"]["SSESpecification"] == {"SSEEnabled": True}
    assert "`aws/dynamodb`" in section("What it costs")


def section(heading: str) -> str:
    """Return what stands under a heading of the deployment's page."""
    return re.split(r"^## ", DEPLOY.partition(f"## {heading}\n")[2], flags=re.MULTILINE)[0]


def anchors(page: Path) -> set[str]:
    """Return what headings can be linked by, as GitHub makes it."""
    headings = re.findall(r"^#+ (.+)$", page.read_text(), re.MULTILINE)
    return {re.sub(r"[^\w\- ]", "", heading.lower()).replace(" ", "-") for heading in headings}


@pytest.mark.parametrize("page", PAGES, ids=lambda page: page.name)
def test_links_lead_somewhere(page: Path) -> None:
    for target in re.findall(r"\]\(([^)\s]+)\)", page.read_text()):
        path, _, anchor = target.partition("#")
        if "://" in path:
            continue
        linked = (page.parent / path).resolve() if path else page
        assert linked.exists(), target
        assert not anchor or anchor in anchors(linked), target


def test_each_line_of_the_threat_model_has_its_test() -> None:
    page = (ROOT / "docs" / "security.md").read_text()
    named = re.findall(r"`(\w+/\w+\.py)::(test_\w+)`", page)
    assert len(named) > 30
    missing = [
        (file, test)
        for file, test in named
        if f"def {test}(" not in (ROOT / "tests" / file).read_text()
    ]
    assert missing == []
