"""What the real az 2.91 prints: the streams, the prefixes, the exit codes."""

from __future__ import annotations

import json
from typing import Any

SUBSCRIPTION = "00000000-0000-0000-0000-000000000001"
GROUP = "rg-aos-dev"
GROUP_ID = f"/subscriptions/{SUBSCRIPTION}/resourceGroups/{GROUP}"
ACCOUNT = {
    "environmentName": "AzureCloud",
    "id": SUBSCRIPTION,
    "isDefault": True,
    "name": "Contoso Dev",
    "state": "Enabled",
    "tenantId": "00000000-0000-0000-0000-000000000002",
    "user": {"name": "ops@contoso.example", "type": "user"},
}
NOT_LOGGED_IN = "ERROR: Please run 'az login' to setup account.\n"
NEWER_BICEP = (
    "WARNING: A new Bicep release is available: v0.50.1. Upgrade now by running "
    '"az bicep upgrade".\n'
)
LINT_WARNING = (
    "WARNING: /repo/infra/main-modular.bicep(7,7) : Warning no-unused-params: Parameter "
    '"unused" is declared but never used. '
    "[https://aka.ms/bicep/linter-diagnostics#no-unused-params]\n"
)
COMPILER_WARNING = (
    "WARNING: /repo/infra/modules/plan.bicep(3,10) : Warning BCP081: Resource type "
    '"Microsoft.Web/serverfarms@2031-01-01" does not have types available. '
    "[https://aka.ms/bicep/core-diagnostics#BCP081]\n"
)
LINT_INFO = "/repo/infra/main-modular.bicep(1,1) : Info use-safe-access: Consider `.?`. [https://aka.ms/x]\n"
LINT_ERROR = (
    "ERROR: /repo/infra/main-modular.bicep(2,19) : Error BCP057: The name "
    '"nope" does not exist in the current context. '
    "[https://aka.ms/bicep/core-diagnostics#BCP057]\n"
)
PARAM_ERROR = (
    "ERROR: /repo/infra/parameters/dev.bicepparam(4,1) : Error BCP259: The parameter "
    '"functionAppSkuu" is assigned in the params file without being declared in the Bicep file. '
    "[https://aka.ms/bicep/core-diagnostics#BCP259]\n"
)


def resource(kind: str, name: str) -> str:
    """The id of a resource of the group."""
    space, *types = kind.split("/")
    parts = [part for pair in zip(types, name.split("/"), strict=True) for part in pair]
    return "/".join([GROUP_ID, "providers", space, *parts])


def change(
    kind: str, type_: str, name: str, *delta: dict[str, Any], reason: str | None = None
) -> dict[str, Any]:
    """One change of what-if, with every key that az prints."""
    return {
        "after": None,
        "before": None,
        "changeType": kind,
        "delta": list(delta) or None,
        "deploymentId": None,
        "extension": None,
        "identifiers": None,
        "resourceId": resource(type_, name),
        "symbolicName": None,
        "unsupportedReason": reason,
    }


def edit(
    kind: str, path: str, before: Any = None, after: Any = None, *children: dict[str, Any]
) -> dict[str, Any]:
    """One property change."""
    return {
        "after": after,
        "before": before,
        "children": list(children) or None,
        "path": path,
        "propertyChangeType": kind,
    }


def what_if(*changes: dict[str, Any], **more: Any) -> dict[str, Any]:
    """`az deployment group what-if --no-pretty-print`."""
    return {
        "changes": list(changes),
        "diagnostics": [],
        "error": None,
        "potentialChanges": [],
        "status": "Succeeded",
        **more,
    }


def stack_what_if(*changes: dict[str, Any], **more: Any) -> dict[str, Any]:
    """`az stack-whatif group create --no-pretty-print`."""
    listed = [
        {
            "id": it["resourceId"],
            "changeType": it["changeType"].lower(),
            "changeCertainty": "definite",
            "resourceConfigurationChanges": {
                "delta": [
                    {**d, "changeType": d["propertyChangeType"].lower()} for d in it["delta"] or []
                ]
            },
        }
        for it in changes
    ]
    return {
        "properties": {
            "changes": {"resourceChanges": listed},
            "diagnostics": [],
            "provisioningState": "succeeded",
            **more,
        }
    }


def deployed(outputs: dict[str, Any], state: str = "Succeeded") -> dict[str, Any]:
    """`az deployment group create` and `show`."""
    return {
        "id": f"{GROUP_ID}/providers/Microsoft.Resources/deployments/x",
        "name": "x",
        "properties": {
            "error": None,
            "outputs": {name: {"type": "Object", "value": it} for name, it in outputs.items()},
            "provisioningState": state,
            "timestamp": "2026-02-13T10:00:00+00:00",
        },
    }


def failed(*codes: str, wrapped: str = "Conflict") -> str:
    """A deployment that ran and failed: the real codes are JSON within the messages' text."""
    details = [
        {
            "code": wrapped,
            "message": json.dumps(
                {"error": {"code": code, "message": f"about {code}: validation timeout"}}
            ),
        }
        for code in codes
    ]
    document = {
        "status": "Failed",
        "error": {
            "code": "DeploymentFailed",
            "message": "At least one resource deployment operation failed.",
            "details": details,
        },
    }
    return f"ERROR: {json.dumps(document)}\n"


def preflight_failed(code: str) -> str:
    """What `create` prints when /validate says no."""
    outer = {"code": "InvalidTemplateDeployment", "message": "The template deployment failed."}
    inner = {"code": code, "message": f"about {code}"}
    return f"ERROR: {json.dumps(outer)}\n\nInner Errors: \n{json.dumps(inner)}\n"


def service_error(code: str, message: str = "no") -> str:
    """What az prints for an error of the service."""
    return f"ERROR: ({code}) {message}\nCode: {code}\nMessage: {message}\n"


NO_NETWORK = (
    "ERROR: HTTPSConnectionPool(host='management.azure.com', port=443): Max retries exceeded with "
    "url: /subscriptions (Caused by NewConnectionError: Temporary failure in name resolution)\n"
)
RESET = "ERROR: ('Connection aborted.', ConnectionResetError(104, 'Connection reset by peer'))\n"
