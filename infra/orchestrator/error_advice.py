"""Advises what to do about an error that a retry does not solve. Entry point: `find_advice`."""

from __future__ import annotations

_QUOTA = (
    "request quota in the portal, or choose a smaller SKU or another region "
    "(REGIONAL_REQUIREMENTS.md); waiting does not help"
)
_NAME = (
    "another resource in Azure has this name: set nameSuffix in the parameter file, or find the "
    "resource"
)
_RIGHTS = "you need Contributor and User Access Administrator (or Owner) on the resource group"
_REGISTER = "az provider register --namespace <the namespace that the message names> --wait"
_DELETED = (
    "a deleted resource still has the name: recover it (az keyvault recover --name NAME), "
    "or purge it if purge protection is off"
)
_TEMPLATE = "correct the template or the parameter file at the place that the message names"

_ADVICE = {
    "accountnameinvalid": "storage account names have 3 to 24 lower-case letters and digits",
    "authorizationfailed": _RIGHTS,
    "linkedauthorizationfailed": _RIGHTS,
    "conflicterror": _DELETED,
    "flagmustbesetforrestore": _DELETED,
    "insufficientquota": _QUOTA,
    "invalidparameter": _TEMPLATE,
    "invalidrequestcontent": _TEMPLATE,
    "invalidresourcelocation": (
        "a resource with this name is in another region: use that region, or another nameSuffix"
    ),
    "invalidtemplate": _TEMPLATE,
    "locationnotavailableforresourcetype": "choose another region (REGIONAL_REQUIREMENTS.md)",
    "missingsubscriptionregistration": _REGISTER,
    "noregisteredproviderfound": _REGISTER,
    "parameteroutofrange": _TEMPLATE,
    "quotaexceeded": _QUOTA,
    "requestdisallowedbypolicy": (
        "an Azure Policy forbids it; the message names the policy and its assignment"
    ),
    "resourcegroupnotfound": "create the resource group, or pass --create-resource-group",
    "roleassignmentexists": (
        "the same role was assigned by hand: delete that assignment, the template creates its own"
    ),
    "roleassignmentupdatenotpermitted": (
        "an identity was deleted and created again: delete the role assignments of the old one "
        "(az role assignment list --all shows them without a principal name)"
    ),
    "scopelocked": "remove the lock during the deployment (az lock list -g GROUP shows it)",
    "skunotavailable": _QUOTA,
    "storageaccountalreadytaken": _NAME,
    "subscriptionisoverquotaforsku": _QUOTA,
    "vaultalreadyexists": _DELETED,
    "websitealreadyexists": _NAME,
    "51021": "the App Service plan does not allow this site setting; see the message",
}


def find_advice(codes: tuple[str, ...], text: str) -> str:
    """Return the advice for the first known code, else for the text that az printed."""
    for code in codes:
        known = _ADVICE.get(code.lower())
        if known:
            return known
    if "az login" in text:
        return "az login, then az account set --subscription ID"
    if any(code.startswith("BCP") for code in codes):
        return _TEMPLATE
    return "see the message, and infra/README.md#troubleshooting for common errors"
