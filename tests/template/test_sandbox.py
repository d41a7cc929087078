"""The sandbox's container on Fargate has no more rights than the image needs."""

import json
import re
from pathlib import Path

from headstart_local.packaging import read_template
from headstart_runner import runner
from headstart_runner.config import RIGHTS

ROOT = Path(__file__).parents[2]
IMAGE = (ROOT / "sandbox" / "Dockerfile").read_text()
TEMPLATE = read_template(ROOT / "template.yaml")
TASK = TEMPLATE["Resources"]["SandboxTask"]["Properties"]
[CONTAINER] = TASK["ContainerDefinitions"]
DOCKERS_DEFAULT = {
    "AUDIT_WRITE", "CHOWN", "DAC_OVERRIDE", "FOWNER", "FSETID", "KILL", "MKNOD", "NET_BIND_SERVICE",
    "NET_RAW", "SETFCAP", "SETGID", "SETPCAP", "SETUID", "SYS_CHROOT",
}  # fmt: skip
"""What a container may do that nobody restricts ("Linux capabilities", Docker's manual)."""


def instruction(name: str) -> str:
    """Return what the last instruction of a name in the Dockerfile says, joined lines as one."""
    joined = IMAGE.replace("\\\n", "")
    return re.findall(rf"^{name} (.+)", joined, re.MULTILINE)[-1]


def test_it_gets_no_credentials() -> None:
    assert "TaskRoleArn" not in TASK
    assert not {"Environment", "Secrets", "EnvironmentFiles"} & set(CONTAINER)


def test_it_is_not_root_and_writes_to_the_images_volumes_only() -> None:
    assert CONTAINER["User"] == {"Ref": "SandboxUser"}
    assert TEMPLATE["Parameters"]["SandboxUser"]["Default"] == instruction("USER") == "runner"
    assert {"--reuid=runner", "--regid=runner"} < set(json.loads(instruction("ENTRYPOINT")))
    assert CONTAINER["ReadonlyRootFilesystem"] is True
    mounted = {point["SourceVolume"]: point["ContainerPath"] for point in CONTAINER["MountPoints"]}
    assert set(mounted.values()) == set(json.loads(instruction("VOLUME")))
    assert [volume["Name"] for volume in TASK["Volumes"]] == list(mounted)
    assert not any("ReadOnly" in point for point in CONTAINER["MountPoints"])


def test_it_has_the_rights_that_the_runner_needs_and_no_other() -> None:
    dropped = set(CONTAINER["LinuxParameters"]["Capabilities"]["Drop"])
    assert DOCKERS_DEFAULT - dropped == set(RIGHTS)
    given = json.loads(instruction("ENTRYPOINT"))
    options = [option for option in given if "-caps=" in option]
    names = ",".join(f"+{name.lower()}" for name in sorted(RIGHTS))
    assert options == [f"--inh-caps={names}", f"--ambient-caps={names}"]
    [of_file] = re.findall(r"setcap (\S+)=ep", IMAGE)
    assert set(of_file.split(",")) == {f"cap_{name.lower()}" for name in RIGHTS}


def test_the_cluster_asks_for_nothing_that_a_new_account_lacks() -> None:
    # CreateCluster with capacity providers needs ECS's service-linked role to be there already.
    cluster = TEMPLATE["Resources"]["Cluster"]["Properties"]
    assert not {"CapacityProviders", "DefaultCapacityProviderStrategy"} & set(cluster)
    assert TEMPLATE["Resources"]["ClusterSpot"]["Condition"] == "UsesSpot"


def test_it_has_all_the_time_that_fargate_gives_to_save_its_work() -> None:
    # "The max stop timeout value is 120 seconds" (StopTimeout of a container definition); the
    # agent's end and the last reports come after the saving.
    assert CONTAINER["StopTimeout"] == 120
    left = CONTAINER["StopTimeout"] - runner._SAVE_SECONDS - runner._FLUSH_SECONDS
    assert 5 <= left <= 20
