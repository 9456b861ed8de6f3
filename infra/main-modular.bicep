metadata name = 'Agent Operating System'
metadata description = 'Everything that one environment of AOS needs in Azure, in one resource group. Deploying it again changes nothing.'
metadata owner = 'AOS Platform Team'

import { namesOf } from 'modules/names.bicep'
import { capabilitiesOf } from 'modules/regions.bicep'
import { containers, tables, queues } from 'modules/state.bicep'
import { triggers } from 'modules/triggers.bicep'
import { mainGrants, realmGrants, mcpGrants, agentAuthorCondition } from 'modules/roles/grants.bicep'
import { facts, mainSettings, realmSettings, mcpSettings } from 'modules/settings.bicep'
import { signIn } from 'modules/sign-in.bicep'
import { tagSet, principal, phone, perApp, priceList } from 'modules/types.bicep'

// --- Parameters of the deployment plan --------------------------------------------------------

@description('Optional. Region of all resources. REGIONAL_REQUIREMENTS.md lists what each region offers.')
param location string = resourceGroup().location

@description('Required. Environment.')
@allowed(['dev', 'staging', 'prod'])
param environment string

@description('Optional. Plan of the function apps. Y1: Consumption (Linux, Python up to 3.12; Azure retires it in September 2028). EP1, EP2: Elastic Premium, with a virtual network and a staging slot. FC1: Flex Consumption, the successor of Y1, with a virtual network; recommended for development.')
@allowed(['Y1', 'EP1', 'EP2', 'FC1'])
param functionAppSku string = 'Y1'

@description('Optional. Tier of Service Bus. Private endpoints and zones need Premium. A namespace cannot change its tier.')
@allowed(['Standard', 'Premium'])
param serviceBusSku string = 'Standard'

@description('Optional. Redundancy of the storage account of the state. GRS copies to the paired region, which leaves the region.')
@allowed(['Standard_LRS', 'Standard_GRS'])
param storageSku string = 'Standard_LRS'

@description('Optional. Let users of a customer tenant sign in (Azure AD B2C, for those who have one, or Entra External ID). Needs signInClientId and signInIssuer, and the secret B2CClientSecret in the vault.')
param enableB2C bool = false

@description('Optional. Application Insights, its alerts and the workbook.')
param enableAppInsights bool = true

@description('Optional. Azure Machine Learning workspace and container registry, for training LoRA adapters.')
param enableAzureML bool = false

// --- Names and tags ---------------------------------------------------------------------------

@description('Optional. Suffix of the environment in every name. Site names are globally unique, so the second region of an environment needs one, such as -dr.')
@maxLength(8)
param nameSuffix string = ''

@description('Optional. Tag: the owner of the resources.')
param owner string = 'platform-team'

@description('Optional. Tag: the cost center.')
param costCenter string = '1234'

@description('Optional. More tags, such as tags for compliance.')
param extraTags tagSet = {}

// --- The model --------------------------------------------------------------------------------

@description('Optional. Base URL of an OpenAI-compatible endpoint, with /v1. If it is empty, agents are published but runs are refused with model_not_configured.')
param modelEndpoint string = ''

@description('Optional. Base model. Empty: the first model that the endpoint lists.')
param modelName string = ''

@description('Optional. Models that cards may name, separated by commas. Empty: only the base model.')
param modelNames string = ''

@description('Optional. Prices of models, for the costs of GET /api/usage: {"currency": "USD", "gpt-5": {"input": "1.25", "output": "10"}}, per million tokens (AOS_MODEL_PRICES).')
param modelPrices priceList?

@description('Optional. API that the endpoint speaks: chat (Chat Completions) or responses (OpenAI Responses, for models that speak only that).')
@allowed(['chat', 'responses'])
param modelApi string = 'chat'

@description('Optional. Models that can see images and PDF files, separated by commas, or * for all. Empty: requests with images are refused.')
param visionModels string = ''

@description('Optional. How realm authenticates to the model. identity: Entra ID. key: the secret ModelApiKey in the vault.')
@allowed(['identity', 'key'])
param modelAuth string = 'identity'

@description('Optional. Id of the Azure OpenAI account of the endpoint. realm gets the role to use it.')
param modelAccountId string = ''

// --- Callers ----------------------------------------------------------------------------------

@description('Optional. How HTTP callers authenticate: function keys, or App Service Authentication with Entra ID.')
@allowed(['keys', 'easyauth'])
param authentication string = 'keys'

@description('Optional. Client id of the app registration (easyauth, B2C).')
param signInClientId string = ''

@description('Optional. Issuer of tokens up to /v2.0 (easyauth, B2C).')
param signInIssuer string = ''

@description('Optional. Audiences that tokens may have besides the client id.')
param signInAudiences string[] = []

@description('Optional. Owners of function keys: name=sha256 pairs separated by commas (AOS_KEY_OWNERS). Hashes, not keys.')
param keyOwners string = ''

@description('Optional. Owners for which senders on aos-requests may act, separated by commas; * for all persons and keys (AOS_QUEUE_MAY_ACT_FOR). Empty: they act for nobody but themselves.')
param queueMayActFor string = ''

@description('Optional. SHA-256 of the keys whose callers are admins, separated by commas (AOS_ADMIN_KEYS). Hashes, not keys.')
param adminKeyHashes string = ''

@description('Optional. Users and groups that may upload cards and manage secrets.')
param operators principal[] = []

@description('Optional. Users and groups that may upload agent cards, but not cards of MCP servers.')
param agentAuthors principal[] = []

@description('Optional. Address ranges that may call the function apps. Empty: everybody may call.')
param allowedIpRanges string[] = []

@description('Optional. Commands that may start MCP servers: prefixes separated by semicolons (AOS_MCP_ALLOWED).')
param mcpAllowed string = ''

@description('Optional. Settings of all three apps that have no parameter here, such as AOS_MAX_TURNS or AOS_MCP_HOSTS. docs/SETTINGS.md lists them. It cannot replace settings of other parameters, and it must not contain secrets.')
param moreSettings tagSet = {}

@description('Optional. Whether runs may notify URLs. main signs with the secret WebhookSecret in the vault.')
param enableWebhooks bool = false

// --- The bus ----------------------------------------------------------------------------------

@description('Optional. Queues that a request may name for its reply. Queues that are not in servicebus.json are created with the properties of the first.')
@minLength(1)
param replyQueues string[] = ['businessinfinity-responses']

@description('Optional. Whether reply queues have sessions. It cannot be changed later.')
param replySessions bool = false

@description('Optional. Messaging units of a Premium namespace.')
@allowed([1, 2, 4, 8, 16])
param serviceBusCapacity int = 1

@description('Optional. Second region to which a Premium namespace copies entities and messages; empty for none.')
param serviceBusReplicaLocation string = ''

// --- State ------------------------------------------------------------------------------------

@description('Optional. Store of the tables: the storage account, or Cosmos DB for Table.')
@allowed(['tables', 'cosmos'])
param stateStore string = 'tables'

@description('Optional. Days in which deleted and overwritten blobs can be restored.')
@minValue(7)
@maxValue(365)
param softDeleteDays int = 7

@description('Optional. Copy the state every day into a backup vault.')
param enableBackupVault bool = false

@description('Optional. Keep deleted secrets for 90 days and forbid to purge them. This cannot be undone. Without it they are kept for 7 days.')
param protectKeyVault bool = false

@description('Optional. Locks (CanNotDelete) on resources with data: the storage account of the state and its copies, the vaults, the bus, Cosmos DB. Switching it off does not remove a lock; use az lock delete.')
param lockData bool = environment == 'prod'

@description('Optional. Connect main and realm by connection strings from the vault (ServiceBusConnectionString, StorageConnectionString) instead of by identity. mcp keeps its identity.')
param useConnectionStrings bool = false

// --- Network ----------------------------------------------------------------------------------

@description('Optional. Virtual network for the function apps (not on Y1).')
param enableVnet bool = false

@description('Optional. Close storage, vaults and a Premium bus to the internet (not on Y1). Cards are then uploaded from inside the network.')
param enablePrivateEndpoints bool = false

@description('Optional. Address space of the virtual network.')
param vnetAddressPrefix string = '10.20.0.0/16'

@description('Optional. Notify main of uploaded cards at once, through Event Grid. Without it main finds them within catalogTimerSeconds.')
param enableEventGrid bool = true

// --- Timers -----------------------------------------------------------------------------------
// Y1 and FC1 bill each timer call (docs/COST.md). The values are those that a schedule can express.

@description('Optional. Seconds between two listings of the cards, which find cards without an event. It is longer in dev, where Event Grid sends events.')
@allowed([5, 10, 15, 20, 30, 60, 120, 300, 600, 900, 1800, 3600])
param catalogTimerSeconds int = environment == 'dev' && enableEventGrid ? 900 : 300

@description('Optional. Seconds between two searches for runs whose next step was lost, such as a message that could not be sent. Such a run waits at most this long.')
@allowed([5, 10, 15, 20, 30, 60, 120, 300, 600, 900])
param menderTimerSeconds int = environment == 'dev' ? 300 : 30

@description('Optional. Seconds between two searches for schedules of agents that are due. An agent wakes at most this much later than its card says.')
@allowed([5, 10, 15, 20, 30, 60, 120, 300, 600, 900])
param wakeTimerSeconds int = environment == 'dev' ? 300 : 60

@description('Optional. Seconds between two searches for what is old or was deleted. They share the timer of the mender.')
@allowed([300, 600, 900, 1800, 3600])
param cleanTimerSeconds int = 3600

@description('Optional. Seconds between two listings of MCP servers without an event: servers that failed, and servers whose secret changed.')
@allowed([5, 10, 15, 20, 30, 60, 120, 300, 600, 900, 1800, 3600])
param listingTimerSeconds int = environment == 'dev' ? 900 : 300

// --- Transcripts ------------------------------------------------------------------------------

@description('Optional. Keep a transcript of each run in the container aos-logs: the request, the messages and the run, as JSON Lines.')
param enableTranscripts bool = environment != 'dev'

@description('Optional. Days for which a transcript is kept after the end of its run. The deletion of its conversation removes it before.')
@minValue(1)
@maxValue(3650)
param transcriptDays int = 90

// --- Scale ------------------------------------------------------------------------------------

@description('Optional. Python version of the apps.')
@allowed(['3.11', '3.12'])
param pythonVersion string = '3.12'

@description('Optional. Maximum number of instances of an Elastic Premium plan.')
@minValue(1)
@maxValue(100)
param maximumInstances int = 20

@description('Optional. Maximum number of instances of the mcp app. Each instance starts its own MCP servers. 0: the maximum of the plan.')
@minValue(0)
@maxValue(200)
param mcpMaxInstances int = 10

@description('Optional. Spread plans over availability zones.')
param zoneRedundant bool = false

@description('Optional. How instances on FC1 are replaced when code or settings change. Recreate: all at once; running calls are aborted and repeated. RollingUpdate: in batches, after running calls have ended. RollingUpdate is a preview: it has no service level, Microsoft does not recommend it for production, and old and new code run at the same time.')
@allowed(['Recreate', 'RollingUpdate'])
param siteUpdateStrategy string = 'Recreate'

@description('Optional. A staging slot for each app (Elastic Premium), with its triggers off.')
param enableStagingSlot bool = false

@description('Optional. Apps whose slots are swapped. List them until they are swapped back; otherwise the next deployment gives production the code from before the swap.')
param swappedApps ('main' | 'mcp' | 'realm')[] = []

@description('Optional. On Y1, allow `func azure functionapp publish`, which needs the account key of the host storage. Without it, upload the package to app-package and restart.')
param coreToolsPublish bool = false

// --- Monitoring -------------------------------------------------------------------------------

@description('Optional. Minimum level of log lines.')
@allowed(['DEBUG', 'INFO', 'WARNING', 'ERROR'])
param logLevel string = 'INFO'

@description('Optional. Share of the traces that host and apps keep, from 0 to 1. The trace id decides.')
param traceSamplingRatio string = '1.0'

@description('Optional. Days for which logs are kept.')
@minValue(30)
@maxValue(730)
param logRetentionDays int = 30

@description('Optional. Maximum gigabytes of the Log Analytics workspace for each day; -1 is no limit. Data above the limit is lost.')
param logDailyQuotaGb int = -1

@description('Optional. Log to Log Analytics who used the vaults, changed the bus, and wrote or deleted state. It needs enableAppInsights, which creates the workspace.')
param enableDiagnostics bool = true

@description('Optional. Seconds between two availability tests of an app from each of three locations. 0: no tests, and no alert FunctionAppDown. Y1 and FC1 bill each test as an execution.')
@allowed([0, 300, 600, 900])
param availabilityTestSeconds int = environment == 'dev' ? 900 : 300

@description('Optional. Mail addresses for critical alerts.')
param criticalAlertEmails string[] = []

@description('Optional. Phone numbers for critical alerts.')
param criticalAlertPhones phone[] = []

@description('Optional. Web hook of a pager service for critical alerts.')
@secure()
param criticalAlertWebhook string = ''

@description('Optional. Mail addresses for warnings.')
param warningAlertEmails string[] = []

@description('Optional. An existing action group that gets all alerts.')
param actionGroupId string = ''

@description('Optional. Budget for each month in the currency of the subscription; 0 for none.')
@minValue(0)
param monthlyBudget int = 0

@description('Optional. First day of the month of the first deployment, such as 2026-12-01. Do not change it later.')
param budgetStartDate string = ''

// --- The second region ------------------------------------------------------------------------

@description('Optional. Front Door in front of the main app, with a second region.')
param enableFrontDoor bool = false

@description('Optional. Seconds between two probes of one Front Door location. There are about a hundred. A longer time costs less telemetry and detects a failed region later.')
@minValue(5)
@maxValue(255)
param frontDoorProbeSeconds int = 30

@description('Optional. Host name of the main app of the second region.')
param secondaryHostName string = ''

@description('Optional. For the second region: id of the Front Door of the first region, which may call it even when address ranges are given.')
param frontDoorId string = ''

@description('Optional. Base URL of links to runs. Empty: the URL of Front Door, or of the main app.')
param publicUrl string = ''

// --- Derived values ---------------------------------------------------------------------------

var unique = uniqueString(resourceGroup().id, nameSuffix)
var names = namesOf(environment, nameSuffix, unique)
var label = '${environment}${nameSuffix}'
var tags = {
  ...extraTags
  environment: environment
  project: 'aos'
  managedBy: 'bicep'
  costCenter: costCenter
  owner: owner
}

var region = capabilitiesOf(location)
var sku = startsWith(functionAppSku, 'EP') && !region.functionsPremium ? 'Y1' : functionAppSku
var busSku = serviceBusSku == 'Premium' && !region.serviceBusPremium ? 'Standard' : serviceBusSku
var machineLearning = enableAzureML && region.azureML
var elastic = startsWith(sku, 'EP')
var flex = sku == 'FC1'
var premiumBus = busSku == 'Premium'

var networkWanted = enableVnet || enablePrivateEndpoints
var networked = networkWanted && sku != 'Y1'
var closed = enablePrivateEndpoints && networked
var cosmosTables = stateStore == 'cosmos'
var keyedHostStorage = elastic || (sku == 'Y1' && coreToolsPublish)

var signInWanted = enableB2C || authentication == 'easyauth'
var signsIn = signInWanted && !empty(signInClientId) && !empty(signInIssuer)
var signInWith signIn? = signsIn
  ? {
      clientId: signInClientId
      issuer: signInIssuer
      audiences: signInAudiences
      secretSetting: enableB2C ? 'B2C_CLIENT_SECRET' : ''
    }
  : null
var budgeted = monthlyBudget > 0 && !empty(budgetStartDate)

var vaultSuffix = az.environment().suffixes.keyvaultDns
var apps = ['main', 'mcp', 'realm']
var appNames = [names.functionApps.main, names.functionApps.mcp, names.functionApps.realm]
var identityNames = [names.identities.main, names.identities.mcp, names.identities.realm]
var hostStorageNames = [names.hostStorage.main, names.hostStorage.mcp, names.hostStorage.realm]
var vaultNames = [names.keyVault, names.mcpKeyVault, names.keyVault]
var grants = [mainGrants(replyQueues), mcpGrants, realmGrants]
var appTriggers = [triggers.main, triggers.mcp, triggers.realm]
var planNames = flex ? map(apps, app => '${names.plan}-${app}') : [names.plan]
var insightsId = resourceId('Microsoft.Insights/components', names.insights)
var workspaceId = resourceId('Microsoft.OperationalInsights/workspaces', names.workspace)
var diagnosticsId = enableAppInsights && enableDiagnostics ? workspaceId : ''

// --- The resources ----------------------------------------------------------------------------

module monitoring 'modules/monitoring.bicep' = if (enableAppInsights) {
  params: {
    location: location
    tags: tags
    workspaceName: names.workspace
    insightsName: names.insights
    retentionDays: logRetentionDays
    dailyQuotaGb: logDailyQuotaGb
  }
}

module identities 'modules/identity.bicep' = [
  for name in identityNames: {
    params: { location: location, tags: tags, name: name }
  }
]

var privateServices = concat(
  ['blob', 'queue', 'table', 'vault'],
  elastic ? ['file'] : [],
  premiumBus ? ['bus'] : [],
  cosmosTables ? ['cosmosTable'] : []
)

module network 'modules/network.bicep' = if (networked) {
  params: {
    location: location
    tags: tags
    name: names.network
    addressPrefix: vnetAddressPrefix
    flexConsumption: flex
    privateServices: closed ? privateServices : []
  }
}

module dataStorage 'modules/storage.bicep' = {
  params: {
    location: location
    tags: tags
    name: names.dataStorage
    sku: storageSku
    allowSharedKeyAccess: useConnectionStrings
    closed: closed
    containers: containers
    tables: cosmosTables ? [] : tables
    queues: queues
    softDeleteDays: softDeleteDays
    pointInTimeRestore: true
    workspaceId: diagnosticsId
    locked: lockData
  }
  dependsOn: [monitoring]
}

module hostStorage 'modules/storage.bicep' = [
  for (name, i) in hostStorageNames: {
    params: {
      location: location
      tags: tags
      name: name
      allowSharedKeyAccess: keyedHostStorage
      closed: closed
      containers: elastic ? [] : ['app-package']
      shares: elastic ? concat([appNames[i]], enableStagingSlot ? ['${appNames[i]}-staging'] : []) : []
    }
  }
]

module serviceBus 'modules/service-bus.bicep' = {
  params: {
    location: location
    tags: tags
    name: names.serviceBus
    sku: busSku
    capacity: serviceBusCapacity
    allowLocalAuth: useConnectionStrings
    closed: closed && premiumBus
    replyQueues: replyQueues
    replySessions: replySessions
    replicaLocation: serviceBusReplicaLocation
    workspaceId: diagnosticsId
    locked: lockData
  }
  dependsOn: [monitoring]
}

module vaults 'modules/key-vault.bicep' = [
  for name in [names.keyVault, names.mcpKeyVault]: {
    params: {
      location: location
      tags: tags
      name: name
      protected: protectKeyVault
      closed: closed
      workspaceId: diagnosticsId
      locked: lockData
    }
    dependsOn: [monitoring]
  }
]

module cosmos 'modules/cosmos.bicep' = if (cosmosTables) {
  params: {
    location: location
    tags: tags
    name: names.cosmos
    tables: tables
    principalIds: [for (app, i) in apps: identities[i].outputs.principalId]
    closed: closed
    locked: lockData
  }
}

var storageEndpoints = flatten(map(
  [names.dataStorage, ...hostStorageNames],
  account =>
    map(['blob', 'queue', 'table', ...(elastic && account != names.dataStorage ? ['file'] : [])], service => {
      name: 'pe-${account}-${service}'
      serviceId: resourceId('Microsoft.Storage/storageAccounts', account)
      service: service
      group: service
    })
))
var vaultEndpoints = map([names.keyVault, names.mcpKeyVault], vault => {
  name: 'pe-${vault}'
  serviceId: resourceId('Microsoft.KeyVault/vaults', vault)
  service: 'vault'
  group: 'vault'
})
var busEndpoints = premiumBus
  ? [
      {
        name: 'pe-${names.serviceBus}'
        serviceId: resourceId('Microsoft.ServiceBus/namespaces', names.serviceBus)
        service: 'bus'
        group: 'namespace'
      }
    ]
  : []
var cosmosEndpoints = cosmosTables
  ? [
      {
        name: 'pe-${names.cosmos}'
        serviceId: resourceId('Microsoft.DocumentDB/databaseAccounts', names.cosmos)
        service: 'cosmosTable'
        group: 'Table'
      }
    ]
  : []
var endpoints = concat(storageEndpoints, vaultEndpoints, busEndpoints, cosmosEndpoints)

module privateEndpoints 'modules/private-endpoint.bicep' = [
  for endpoint in endpoints: if (closed) {
    params: {
      location: location
      tags: tags
      name: endpoint.name
      serviceId: endpoint.serviceId
      service: endpoint.service
      group: endpoint.group
      subnetId: resourceId('Microsoft.Network/virtualNetworks/subnets', names.network, 'subnet-endpoints')
    }
    dependsOn: [network, dataStorage, hostStorage, vaults, serviceBus, cosmos]
  }
]

module roles 'modules/roles/app.bicep' = [
  for (app, i) in apps: {
    params: {
      // The names of its assignments contain the id of the principal, which Azure creates.
      #disable-next-line what-if-short-circuiting
      principalId: identities[i].outputs.principalId
      grants: grants[i]
      hostStorageName: hostStorageNames[i]
      dataStorageName: names.dataStorage
      serviceBusName: names.serviceBus
      vaultName: vaultNames[i]
      insightsName: enableAppInsights ? names.insights : ''
      tablesInStorage: !cosmosTables
    }
    dependsOn: [monitoring, dataStorage, hostStorage, serviceBus, vaults]
  }
]

var modelAccount = split(modelAccountId, '/')

module modelRole 'modules/roles/model.bicep' = if (!empty(modelAccountId)) {
  scope: resourceGroup(modelAccount[?2] ?? subscription().subscriptionId, modelAccount[?4] ?? resourceGroup().name)
  params: {
    accountName: modelAccount[?8] ?? ''
    #disable-next-line what-if-short-circuiting
    principalId: identities[2].outputs.principalId
  }
}

module operatorStorageRoles 'modules/roles/storage.bicep' = [
  for item in operators: {
    params: {
      accountName: names.dataStorage
      principalId: item.id
      principalType: item.type
      containerRoles: [{ name: 'aos-config', role: 'Storage Blob Data Contributor' }]
    }
    dependsOn: [dataStorage]
  }
]

module operatorVaultRoles 'modules/roles/key-vault.bicep' = [
  for item in operators: {
    params: {
      vaultName: names.keyVault
      principalId: item.id
      principalType: item.type
      role: 'Key Vault Secrets Officer'
    }
    dependsOn: [vaults]
  }
]

module operatorMcpVaultRoles 'modules/roles/key-vault.bicep' = [
  for item in operators: {
    params: {
      vaultName: names.mcpKeyVault
      principalId: item.id
      principalType: item.type
      role: 'Key Vault Secrets Officer'
    }
    dependsOn: [vaults]
  }
]

module authorRoles 'modules/roles/storage.bicep' = [
  for item in agentAuthors: {
    params: {
      accountName: names.dataStorage
      principalId: item.id
      principalType: item.type
      containerRoles: [
        { name: 'aos-config', role: 'Storage Blob Data Contributor', condition: agentAuthorCondition }
      ]
    }
    dependsOn: [dataStorage]
  }
]

module secrets 'modules/connection-secrets.bicep' = if (useConnectionStrings) {
  params: { vaultName: names.keyVault, serviceBusName: names.serviceBus, storageName: names.dataStorage }
  dependsOn: [vaults, serviceBus, dataStorage]
}

module plans 'modules/plan.bicep' = [
  for name in planNames: {
    params: {
      location: location
      tags: tags
      name: name
      sku: sku
      maximumInstances: maximumInstances
      zoneRedundant: zoneRedundant
    }
  }
]

var tableEndpointUrl = cosmosTables ? 'https://${names.cosmos}.table.cosmos.azure.com:443/' : ''

var known facts = {
  environment: environment
  logLevel: logLevel
  samplingRatio: traceSamplingRatio
  serviceBusHost: '${names.serviceBus}.servicebus.windows.net'
  storageName: names.dataStorage
  tableEndpoint: tableEndpointUrl
  queueEndpoint: 'https://${names.dataStorage}.queue.${az.environment().suffixes.storage}'
  vaultName: names.keyVault
  connectionStrings: useConnectionStrings
  modelEndpoint: modelEndpoint
  modelName: modelName
  modelNames: modelNames
  modelPrices: modelPrices == null ? '' : string(modelPrices)
  modelApi: modelApi
  visionModels: visionModels
  modelKey: modelAuth == 'key'
  publicUrl: !empty(publicUrl) || !enableFrontDoor ? publicUrl : 'https://${frontDoor!.outputs.hostName}'
  replyQueues: replyQueues
  keyOwners: keyOwners
  queueMayActFor: queueMayActFor
  adminKeys: adminKeyHashes
  webhooks: enableWebhooks
  mcpAllowed: mcpAllowed
  mcpVaultUri: 'https://${names.mcpKeyVault}${vaultSuffix}/'
  catalogSeconds: catalogTimerSeconds
  menderSeconds: menderTimerSeconds
  wakeSeconds: wakeTimerSeconds
  cleanSeconds: cleanTimerSeconds
  listingSeconds: listingTimerSeconds
  transcripts: enableTranscripts
  transcriptDays: transcriptDays
  more: moreSettings
}

var auth = signsIn ? 'easyauth' : 'keys'

module functionApps 'modules/function-app.bicep' = [
  for (app, i) in apps: {
    params: {
      location: location
      tags: tags
      name: appNames[i]
      app: app
      sku: sku
      planId: resourceId('Microsoft.Web/serverfarms', flex ? '${names.plan}-${app}' : names.plan)
      pythonVersion: pythonVersion
      identityId: resourceId('Microsoft.ManagedIdentity/userAssignedIdentities', identityNames[i])
      identityClientId: identities[i].outputs.clientId
      hostStorageName: hostStorageNames[i]
      vaultName: vaultNames[i]
      insightsName: enableAppInsights ? names.insights : ''
      settings: app == 'main'
        ? mainSettings(
            identities[i].outputs.clientId,
            auth,
            enableAppInsights,
            signsIn && enableB2C,
            enableFrontDoor || !empty(publicUrl),
            known
          )
        : app == 'mcp'
            ? mcpSettings(identities[i].outputs.clientId, enableAppInsights, known)
            : realmSettings(identities[i].outputs.clientId, enableAppInsights, known)
      triggers: appTriggers[i]
      stagingSlot: enableStagingSlot
      swapped: enableStagingSlot && contains(swappedApps, app)
      maximumInstances: app == 'mcp' ? mcpMaxInstances : 0
      coreToolsPublish: coreToolsPublish
      siteUpdateStrategy: siteUpdateStrategy
      subnetId: networked
        ? resourceId('Microsoft.Network/virtualNetworks/subnets', names.network, 'subnet-functions')
        : ''
      scaleMonitoring: closed && premiumBus
      allowedIpRanges: allowedIpRanges
      behindFrontDoor: app == 'main' && (enableFrontDoor || !empty(frontDoorId))
      frontDoorId: app != 'main' ? '' : enableFrontDoor ? frontDoor!.outputs.frontDoorId : frontDoorId
      signInWith: app == 'main' ? signInWith : null
    }
    dependsOn: [monitoring, plans, roles, network, privateEndpoints, hostStorage, secrets]
  }
]

module machineLearningWorkspace 'modules/machine-learning.bicep' = if (machineLearning) {
  params: {
    location: location
    tags: tags
    name: names.mlWorkspace
    registryName: names.containerRegistry
    registrySku: environment == 'dev' ? 'Basic' : 'Standard'
    storageId: resourceId('Microsoft.Storage/storageAccounts', names.dataStorage)
    vaultId: resourceId('Microsoft.KeyVault/vaults', names.keyVault)
    insightsId: enableAppInsights ? insightsId : ''
  }
  dependsOn: [monitoring, dataStorage, vaults]
}

module eventGrid 'modules/event-grid.bicep' = if (enableEventGrid) {
  params: {
    location: location
    tags: tags
    name: names.eventTopic
    storageName: names.dataStorage
    serviceBusName: names.serviceBus
  }
  dependsOn: [dataStorage, serviceBus]
}

module alerts 'modules/alerts/alerts.bicep' = {
  params: {
    location: location
    tags: tags
    label: label
    criticalEmails: criticalAlertEmails
    criticalPhones: criticalAlertPhones
    criticalWebhook: criticalAlertWebhook
    warningEmails: warningAlertEmails
    actionGroupId: actionGroupId
    insightsId: enableAppInsights ? insightsId : ''
    functionApps: names.functionApps
    serviceBusId: resourceId('Microsoft.ServiceBus/namespaces', names.serviceBus)
    premiumBus: premiumBus
    storageId: resourceId('Microsoft.Storage/storageAccounts', names.dataStorage)
    planId: elastic ? resourceId('Microsoft.Web/serverfarms', names.plan) : ''
    availabilityTestSeconds: availabilityTestSeconds
  }
  dependsOn: [monitoring, serviceBus, dataStorage, plans]
}

module workbook 'modules/workbook.bicep' = if (enableAppInsights) {
  params: {
    location: location
    tags: tags
    displayName: names.workbook
    insightsId: insightsId
    workspaceId: workspaceId
  }
  dependsOn: [monitoring]
}

module budget 'modules/budget.bicep' = if (budgeted) {
  params: {
    name: names.budget
    amount: max(monthlyBudget, 1)
    startDate: budgetStartDate
    emails: warningAlertEmails
  }
}

module backup 'modules/backup.bicep' = if (enableBackupVault) {
  params: {
    location: location
    tags: tags
    name: names.backupVault
    storageName: names.dataStorage
    containers: containers
    geoRedundant: storageSku == 'Standard_GRS'
    locked: lockData
  }
  dependsOn: [dataStorage]
}

module frontDoor 'modules/front-door.bicep' = if (enableFrontDoor) {
  params: {
    tags: tags
    name: names.frontDoor
    endpointName: names.frontDoorEndpoint
    probeSeconds: frontDoorProbeSeconds
    hostNames: concat(
      ['${names.functionApps.main}.azurewebsites.net'],
      empty(secondaryHostName) ? [] : [secondaryHostName]
    )
  }
}

// --- Outputs ----------------------------------------------------------------------------------

@description('Where the deployment deviated from its parameters, and why. All false: nowhere.')
output deploymentWarnings { *: bool } = {
  azureMLDisabledDueToRegion: enableAzureML && !machineLearning
  functionSkuDowngradedDueToRegion: sku != functionAppSku
  serviceBusSkuDowngradedDueToRegion: busSku != serviceBusSku
  networkDisabledDueToFunctionSku: networkWanted && !networked
  serviceBusPublicDueToSku: closed && !premiumBus
  stagingSlotDisabledDueToFunctionSku: enableStagingSlot && !elastic
  signInDisabledDueToMissingIds: signInWanted && !signsIn
  budgetDisabledDueToMissingStartDate: monthlyBudget > 0 && !budgeted
}

@description('The deployed SKUs.')
output skus { functionApps: string, serviceBus: string, storage: string } = {
  functionApps: sku
  serviceBus: busSku
  storage: storageSku
}

@description('Names of the function apps.')
output functionAppNames perApp = names.functionApps

@description('Name of the staging slot of each app; empty without one.')
output stagingSlotName string = enableStagingSlot && elastic ? 'staging' : ''

@description('Addresses of the function apps.')
output functionAppUrls perApp = {
  main: 'https://${names.functionApps.main}.azurewebsites.net'
  mcp: 'https://${names.functionApps.mcp}.azurewebsites.net'
  realm: 'https://${names.functionApps.realm}.azurewebsites.net'
}

@description('Names of the storage accounts of the Functions hosts, to which packages are uploaded.')
output hostStorageNames perApp = names.hostStorage

@description('Name of the storage account of the state, to whose aos-config cards are uploaded.')
output storageAccountName string = names.dataStorage

@description('URL of the tables in Cosmos DB; empty if they are in the storage account.')
output tableEndpoint string = tableEndpointUrl

@description('Name of the Service Bus namespace.')
output serviceBusName string = names.serviceBus

@description('Name of the vault of main and realm.')
output keyVaultName string = names.keyVault

@description('Name of the vault of mcp, with the secrets of MCP servers.')
output mcpKeyVaultName string = names.mcpKeyVault

@description('Name of the Application Insights component; empty without monitoring.')
output appInsightsName string = enableAppInsights ? names.insights : ''

@description('Name of the machine learning workspace; empty without one.')
output mlWorkspaceName string = machineLearning ? names.mlWorkspace : ''

@description('Names of the identities of the apps.')
output identityNames perApp = names.identities

@description('How HTTP callers authenticate.')
output authentication string = auth

@description('Address of Front Door; empty without one.')
output frontDoorHostName string = frontDoor.?outputs.hostName ?? ''
