"""The combinations of parameters that are tested besides the four environments."""

from __future__ import annotations

GROUP = "00000000-0000-0000-0000-00000000000a"
AUTHORS = "00000000-0000-0000-0000-00000000000b"

VARIANTS = {
    # Every switch on, on Flex Consumption.
    "everything": f"""
using '../main-modular.bicep'
param location = 'westeurope'
param environment = 'staging'
param nameSuffix = '-b'
param functionAppSku = 'FC1'
param serviceBusSku = 'Premium'
param serviceBusCapacity = 2
param serviceBusReplicaLocation = 'northeurope'
param storageSku = 'Standard_GRS'
param enableAzureML = true
param stateStore = 'cosmos'
param enableVnet = true
param enablePrivateEndpoints = true
param enableBackupVault = true
param enableFrontDoor = true
param enableStagingSlot = true
param authentication = 'easyauth'
param signInClientId = '{GROUP}'
param signInIssuer = 'https://sts.example.test/v2.0'
param signInAudiences = ['api://aos']
param allowedIpRanges = ['203.0.113.0/24']
param replyQueues = ['businessinfinity-responses', 'billing-replies']
param replySessions = true
param operators = [{{ id: '{GROUP}', type: 'Group' }}]
param agentAuthors = [{{ id: '{AUTHORS}', type: 'Group' }}]
param extraTags = {{ dataClass: 'confidential' }}
param criticalAlertEmails = ['pager@example.test']
param criticalAlertPhones = [{{ countryCode: '1', phoneNumber: '5550100' }}]
param criticalAlertWebhook = 'https://pager.example.test/hook'
param warningAlertEmails = ['team@example.test']
param actionGroupId = '/subscriptions/s/providers/Microsoft.Insights/actionGroups/a'
param monthlyBudget = 10
param budgetStartDate = '2026-12-01'
param modelEndpoint = 'https://models.example.test/v1'
param modelAuth = 'key'
param modelNames = 'a,b'
param modelPrices = {{ currency: 'USD', a: {{ input: '1.25', output: '10' }} }}
param modelApi = 'responses'
param visionModels = 'a'
param enableWebhooks = true
param keyOwners = 'billing=00ff'
param queueMayActFor = 'billing'
param adminKeyHashes = '00ff'
param mcpMaxInstances = 5
param siteUpdateStrategy = 'RollingUpdate'
param catalogTimerSeconds = 3600
param menderTimerSeconds = 60
param wakeTimerSeconds = 120
param cleanTimerSeconds = 1800
param listingTimerSeconds = 1800
param enableTranscripts = false
param transcriptDays = 30
param frontDoorProbeSeconds = 120
param lockData = true
param enableDiagnostics = false
param moreSettings = {{
  AOS_MCP_HOSTS: 'mcp.internal.test:8080'
  AOS_MAX_TURNS: '32'
  AOS_AUTH: 'off'
}}
""",
    # A region that can do none of it.
    "downgraded": """
using '../main-modular.bicep'
param location = 'westcentralus'
param environment = 'prod'
param functionAppSku = 'EP2'
param serviceBusSku = 'Premium'
param enableAzureML = true
param enablePrivateEndpoints = true
param enableStagingSlot = true
param enableB2C = true
param monthlyBudget = 10
param availabilityTestSeconds = 0
param lockData = false
""",
    # Nothing but what must be given: a resource group and an environment.
    "defaults": """
using '../main-modular.bicep'
param environment = 'dev'
""",
    # Without monitoring, by connection strings, on a bigger plan, after a swap of main.
    "unwatched": """
using '../main-modular.bicep'
param environment = 'dev'
param functionAppSku = 'EP2'
param serviceBusSku = 'Premium'
param enablePrivateEndpoints = true
param enableAppInsights = false
param useConnectionStrings = true
param enableAzureML = true
param enableStagingSlot = true
param swappedApps = ['main']
param enableEventGrid = false
""",
}

# Names and regions, evaluated by the functions that the template uses.
PROBE = """
import { namesOf } from '../modules/names.bicep'
import { capabilitiesOf, regions } from '../modules/regions.bicep'

var suffixes = ['', '-dr', '-b', '-a-b-c-d']
var unique = 'abcdefghijklm'

output dev array = map(suffixes, suffix => namesOf('dev', suffix, unique))
output staging array = map(suffixes, suffix => namesOf('staging', suffix, unique))
output prod array = map(suffixes, suffix => namesOf('prod', suffix, unique))
output regions object = toObject(items(regions), item => item.key, item => capabilitiesOf(item.key))
output displayName object = capabilitiesOf('West US 2')
output unknown object = capabilitiesOf('atlantis')
"""
