"""What should be done about an error that waiting does not heal?"""

from __future__ import annotations

_QUOTA = (
    "ask for quota in the portal, or choose a smaller SKU or another region "
    "(REGIONAL_REQUIREMENTS.md); it does not come back by waiting"
)
_NAME = (
    "the name is taken, worldwide: set nameSuffix in the parameter file, or find out who holds it"
)
_RIGHTS = "you need Contributor and User Access Administrator (or Owner) on the resource group"
_REGISTER = "az provider register --namespace <the namespace that the message names> --wait"
_DELETED = (
    "a deleted resource still holds the name: recover it (az keyvault recover --name NAME), "
    "or purge it if it is not protected"
)
_TEMPLATE = "correct the template or the parameter file at the place that the message names"

_ADVICE = {
    "accountnameinvalid": "storage names are 3 to 24 lower-case letters and digits",
    "authorizationfailed": _RIGHTS,
    "linkedauthorizationfailed": _RIGHTS,
    "conflicterror": _DELETED,
    "flagmustbesetforrestore": _DELETED,
    "insufficientquota": _QUOTA,
    "invalidparameter": _TEMPLATE,
    "invalidrequestcontent": _TEMPLATE,
    "invalidresourcelocation": (
        "a resource of that name is in another region: use its region, or another nameSuffix"
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
        "someone gave the same role by hand: delete that assignment, the template makes its own"
    ),
    "roleassignmentupdatenotpermitted": (
        "an identity was deleted and made again: delete the role assignments of the old one "
        "(az role assignment list --all, principal unknown)"
    ),
    "scopelocked": "remove the lock (az lock list -g GROUP) for the time of the deployment",
    "skunotavailable": _QUOTA,
    "storageaccountalreadytaken": _NAME,
    "subscriptionisoverquotaforsku": _QUOTA,
    "vaultalreadyexists": _DELETED,
    "websitealreadyexists": _NAME,
    "51021": "the plan refuses this site setting; see the message",
}


def advice_for(codes: tuple[str, ...], said: str) -> str:
    """One sentence for the first code that we know; else how to go on."""
    for code in codes:
        known = _ADVICE.get(code.lower())
        if known:
            return known
    if "az login" in said:
        return "az login, then az account set --subscription ID"
    if any(code.startswith("BCP") for code in codes):
        return _TEMPLATE
    return "see the message; infra/README.md#troubleshooting lists the usual ones"
