"""What a what-if shows, and when it stops a deployment."""

from __future__ import annotations

from tests.infra.orchestrator import az_output
from tests.infra.orchestrator.az_output import change, edit
from tests.infra.orchestrator.scenario import Scenario, play, table
from tests.infra.orchestrator.world import World

PLAN = {"last": "PLANNING", "creates": 0, "code": 1}


def _foresees(*changes: object, **more: object) -> object:
    return lambda w: w.az.answers("deployment group what-if", az_output.what_if(*changes, **more))


PLANS = {
    "what-if with an error of the template": Scenario(
        given=lambda w: w.az.answers(
            "deployment group what-if", err="ERROR: InvalidTemplate - no such thing\n", code=1
        ),
        says=("InvalidTemplate",),
        waits=[],
        **PLAN,
    ),
    "what-if whose arguments az refuses": Scenario(
        given=lambda w: w.az.answers(
            "deployment group what-if", err="ERROR: unrecognized arguments: --location\n", code=2
        ),
        waits=[],
        **PLAN,
    ),
    "what-if that prints nothing is not no changes": Scenario(
        given=lambda w: w.az.answers("deployment group what-if", ""), **PLAN
    ),
    "what-if that prints text": Scenario(
        given=lambda w: w.az.answers("deployment group what-if", "- Delete\n"), **PLAN
    ),
    "what-if without a list of changes": Scenario(
        given=lambda w: w.az.answers("deployment group what-if", {"status": "Succeeded"}), **PLAN
    ),
    "what-if whose status is failed": Scenario(given=_foresees(status="Failed"), **PLAN),
    "what-if that holds an error": Scenario(
        given=_foresees(error={"code": "InvalidTemplate"}), **PLAN
    ),
    "what-if that Azure cannot answer today": Scenario(
        given=lambda w: w.az.answers(
            "deployment group what-if", err=az_output.service_error("ServiceUnavailable"), code=1
        ),
        last="PLANNING",
        creates=0,
        code=5,
        waits=[15.0, 30.0, 60.0],
    ),
    "a name that another holds": Scenario(
        given=lambda w: (
            _foresees(change("Create", "Microsoft.Web/sites", "aos-dev-func"))(w),  # type: ignore[operator]
            w.az.answers("rest@aos-dev-func", {"nameAvailable": False, "reason": "AlreadyExists"}),
            w.az.answers("keyvault list-deleted", []),
        ),
        says=("aos-dev-func (AlreadyExists)", "nameSuffix"),
        **PLAN,
    ),
    "a vault deleted elsewhere": Scenario(
        given=lambda w: (
            _foresees(change("Create", "Microsoft.KeyVault/vaults", "kv-aos-dev-x"))(w),  # type: ignore[operator]
            w.az.answers("rest@kv-aos-dev-x", {"nameAvailable": False, "reason": "AlreadyExists"}),
            w.az.answers("keyvault list-deleted", [_deleted_vault("rg-other")]),
        ),
        says=("kv-aos-dev-x",),
        **PLAN,
    ),
}


def _deleted_vault(group: str) -> dict[str, object]:
    vault = f"/subscriptions/x/resourceGroups/{group}/providers/Microsoft.KeyVault/vaults/kv"
    return {"name": "kv-aos-dev-x", "properties": {"location": "eastus", "vaultId": vault}}


@table(PLANS)
def test_recorded_az_what_if_that_failed_never_deploys(world: World, row: Scenario) -> None:
    play(world, row)


def test_recorded_az_gets_template_and_parameters_alike_in_what_if_and_create(world: World) -> None:
    assert world.deploy() == 0
    name = world.record()["deployment_name"]
    given = [
        *("--resource-group", "rg-aos-dev", "--name", name),
        *("--template-file", str(world.infra / "main-modular.bicep")),
        *("--parameters", str(world.infra / "parameters" / "dev.bicepparam")),
        *("--mode", "Incremental", "--no-prompt", "true"),
    ]
    (foreseen,) = world.az.calls("deployment group what-if")
    (created,) = world.az.calls("deployment group create")
    assert foreseen[3:] == [*given, "--no-pretty-print", "-o", "json"]
    assert created[3:] == [*given, "-o", "json"]


def test_recorded_az_recovers_a_vault_that_was_deleted_here(world: World) -> None:
    world.az.answers(
        "deployment group what-if",
        az_output.what_if(change("Create", "Microsoft.KeyVault/vaults", "kv-aos-dev-x")),
    )
    world.az.answers("rest@kv-aos-dev-x", {"nameAvailable": False, "reason": "AlreadyExists"})
    world.az.answers("keyvault list-deleted", [_deleted_vault("RG-AOS-dev")])
    world.az.answers("keyvault recover", {})
    assert world.deploy("--dry-run") == 0
    assert world.az.calls("keyvault recover") == []
    assert world.deploy() == 0
    (recovered,) = world.az.calls("keyvault recover")
    assert recovered[2:4] == ["--name", "kv-aos-dev-x"]
    assert world.record()["recovered_vaults"] == ["kv-aos-dev-x"]


def test_recorded_az_dry_run_ends_after_what_if(world: World) -> None:
    assert world.deploy("--dry-run") == 0
    assert world.record()["state"] == "PLANNED"
    assert world.az.calls("deployment group create") == []


def test_plan_is_grouped_counted_and_without_values(world: World) -> None:
    world.az.answers(
        "deployment group what-if",
        az_output.what_if(
            change("Create", "Microsoft.ServiceBus/namespaces/queues", "sb-aos/aos-requests"),
            change(
                "Modify",
                "Microsoft.Web/sites",
                "aos-dev-func",
                edit("Modify", "properties.siteConfig.linuxFxVersion", "hidden-a", "hidden-b"),
                edit("NoEffect", "properties.noise", "a", "b"),
            ),
            change("NoChange", "Microsoft.KeyVault/vaults", "kv-aos-dev-x"),
            change("Ignore", "Microsoft.Web/sites", "someone-elses"),
            change("Unsupported", "Microsoft.Authorization/roleAssignments", "r", reason="late"),
            diagnostics=[
                {"level": "Warning", "code": "NestedDeploymentShortCircuited", "message": "m"}
            ],
        ),
    )
    assert world.deploy() == 0
    shown = [line.strip() for line in world.said.splitlines()]
    start = shown.index("CREATE (1)")
    assert shown[start : start + 9] == [
        "CREATE (1)",
        "Microsoft.ServiceBus/namespaces/queues sb-aos/aos-requests",
        "MODIFY (1)",
        "Microsoft.Web/sites aos-dev-func",
        "modify properties.siteConfig.linuxFxVersion",
        "DELETE (0)",
        "UNKNOWN TO WHAT-IF (1)",
        "Microsoft.Authorization/roleAssignments r: late",
        "unchanged or not in the template: 2",
    ]
    assert "note: Warning NestedDeploymentShortCircuited: m" in shown
    kept = "".join(path.read_text() for path in world.audit.glob("*.json"))
    assert "hidden-" not in world.said + kept


def test_templates_that_change_after_what_if_are_not_deployed(world: World) -> None:
    late = world.infra / "modules" / "late.bicep"
    world.az.answers(
        "deployment group what-if", az_output.what_if(), script=f"echo '// late' > {late}\n"
    )
    assert world.deploy() == 1
    assert "changed after WHAT-IF" in world.said
    assert world.az.calls("deployment group create") == []
