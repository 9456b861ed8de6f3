metadata description = 'A function app: the site, its settings, its sign-in and, on Elastic Premium, its staging slot. It is used for main, mcp and realm.'

import { tagSet } from 'types.bicep'
import { signIn } from 'sign-in.bicep'

@description('Required. Region.')
param location string

@description('Required. Tags of every resource.')
param tags tagSet

@description('Required. Name of the function app.')
@minLength(2)
@maxLength(60)
param name string

@description('Required. Which of the three apps it is.')
@allowed(['main', 'mcp', 'realm'])
param app string

@description('Required. Size of its plan.')
@allowed(['Y1', 'EP1', 'EP2', 'FC1'])
param sku string

@description('Required. Id of its plan.')
param planId string

@description('Optional. Python version. Y1 ends at 3.12.')
@allowed(['3.11', '3.12'])
param pythonVersion string = '3.12'

@description('Required. Id of its user-assigned identity.')
param identityId string

@description('Required. Client id of that identity.')
param identityClientId string

@description('Required. Name of the storage account of its Functions host.')
param hostStorageName string

@description('Required. Name of its vault.')
param vaultName string

@description('Required. Settings of AOS; those of the platform are added.')
param settings tagSet

@description('Optional. Name of the Application Insights component that it sends to; empty for none.')
param insightsName string = ''

@description('Optional. Functions that a staging slot must not run.')
param triggers string[] = []

@description('Optional. Whether there is a staging slot (Elastic Premium).')
param stagingSlot bool = false

@description('Optional. Whether the slots are swapped. The code is in content shares, and a swap exchanges them.')
param swapped bool = false

@description('Optional. Maximum number of instances; 0 is the maximum of the plan.')
@minValue(0)
@maxValue(1000)
param maximumInstances int = 0

@description('Optional. Memory of an instance on FC1 in megabytes.')
@allowed([2048, 4096])
param instanceMemoryMB int = 2048

@description('Optional. What happens to instances on FC1 when code or settings change. Recreate: all restart at once, and running calls are aborted. RollingUpdate (preview): they are replaced in batches, and running calls may end within 60 minutes.')
@allowed(['Recreate', 'RollingUpdate'])
param siteUpdateStrategy string = 'Recreate'

@description('Optional. On Y1, allow `func azure functionapp publish`, which needs the account key. Off: the package is a blob, read by identity.')
param coreToolsPublish bool = false

@description('Optional. Id of the subnet for outgoing traffic; empty for none.')
param subnetId string = ''

@description('Optional. Let the platform monitor triggers from inside the network (Elastic Premium with a closed bus).')
param scaleMonitoring bool = false

@description('Optional. Address ranges that may call the app. Empty: everybody may call.')
param allowedIpRanges string[] = []

@description('Optional. Whether a Front Door may call the app when address ranges are given.')
param behindFrontDoor bool = false

@description('Optional. Id of that Front Door.')
param frontDoorId string = ''

@description('Optional. How callers sign in; null for function keys.')
param signInWith signIn?

var elastic = startsWith(sku, 'EP')
var flex = sku == 'FC1'
var storageSuffix = az.environment().suffixes.storage
var contentSecret = 'ContentShareConnectionString'
var slotName = 'staging'
var shares = [toLower(name), toLower('${name}-${slotName}')]

// The key is read here, because outputs of modules are readable in the deployment history.
resource insights 'Microsoft.Insights/components@2020-02-02' existing = if (!empty(insightsName)) {
  name: empty(insightsName) ? 'none' : insightsName
}

resource storage 'Microsoft.Storage/storageAccounts@2025-06-01' existing = {
  name: hostStorageName
}

resource vault 'Microsoft.KeyVault/vaults@2025-05-01' existing = {
  name: vaultName

  // Elastic Premium can mount its content share only with an account key. The secret is written once.
  // A second deployment does not change it, so write a rotated key with `az keyvault secret set`.
  @onlyIfNotExists()
  resource contentKey 'secrets' = if (elastic) {
    name: '${contentSecret}-${app}'
    properties: {
      contentType: 'text/plain'
      value: 'DefaultEndpointsProtocol=https;AccountName=${storage.name};AccountKey=${storage.listKeys().keys[0].value};EndpointSuffix=${storageSuffix}'
    }
  }
}

var hostStorageByIdentity = {
  AzureWebJobsStorage__accountName: hostStorageName
  AzureWebJobsStorage__credential: 'managedidentity'
  AzureWebJobsStorage__clientId: identityClientId
}

var platformSettings = {
  FUNCTIONS_EXTENSION_VERSION: '~4'
  FUNCTIONS_WORKER_RUNTIME: 'python'
}

var elasticSettings = {
  WEBSITE_CONTENTAZUREFILECONNECTIONSTRING: '@Microsoft.KeyVault(VaultName=${vaultName};SecretName=${contentSecret}-${app})'
  // The reference is not resolvable yet at the time of this check.
  WEBSITE_SKIP_CONTENTSHARE_VALIDATION: '1'
  // Core Tools would add this setting before a remote build. Then it waits until the site returns
  // every setting unchanged. A reference to the vault is never unchanged, so the publish would fail.
  SCM_DO_BUILD_DURING_DEPLOYMENT: 'true'
  ENABLE_ORYX_BUILD: 'true'
  BUILD_FLAGS: 'UseExpressBuild'
  XDG_CACHE_HOME: '/tmp/.cache'
}

var packageSettings = {
  WEBSITE_RUN_FROM_PACKAGE: 'https://${hostStorageName}.blob.${storageSuffix}/app-package/${app}.zip'
  WEBSITE_RUN_FROM_PACKAGE_BLOB_MI_RESOURCE_ID: identityId
}

// Without it each cold start extracts the package into the temporary space of half a gigabyte.
var consumptionSettings = {
  WEBSITE_MOUNT_ENABLED: '1'
}

var publishByKey = sku == 'Y1' && coreToolsPublish

// Separate from the other settings, so that an account key is not in the expression of all settings.
var sharedSettings = {
  ...settings
  ...(empty(insightsName) ? {} : { APPLICATIONINSIGHTS_CONNECTION_STRING: insights!.properties.ConnectionString })
  ...(publishByKey ? {} : hostStorageByIdentity)
  ...(flex ? {} : platformSettings)
  ...(elastic ? elasticSettings : {})
  ...(sku == 'Y1' ? consumptionSettings : {})
  ...(sku == 'Y1' && !coreToolsPublish ? packageSettings : {})
}

var addressRules = map(range(0, length(allowedIpRanges)), i => {
  name: 'range-${i + 1}'
  action: 'Allow'
  priority: 100 + i
  ipAddress: allowedIpRanges[i]
})
var probeRule = {
  name: 'availability-tests'
  action: 'Allow'
  priority: 300
  tag: 'ServiceTag'
  ipAddress: 'ApplicationInsightsAvailability'
}
var frontDoorRule = {
  name: 'front-door'
  action: 'Allow'
  priority: 310
  tag: 'ServiceTag'
  ipAddress: 'AzureFrontDoor.Backend'
  headers: { 'x-azure-fdid': [frontDoorId] }
}
var restricted = !empty(allowedIpRanges)

var siteConfig = {
  minTlsVersion: '1.2'
  scmMinTlsVersion: '1.2'
  http20Enabled: true
  ...(restricted
    ? {
        ipSecurityRestrictionsDefaultAction: 'Deny'
        ipSecurityRestrictions: [...addressRules, probeRule, ...(behindFrontDoor ? [frontDoorRule] : [])]
      }
    : {})
  // FC1 does not accept these properties.
  ...(flex ? {} : { linuxFxVersion: 'PYTHON|${pythonVersion}', ftpsState: 'Disabled' })
  ...(!flex && maximumInstances > 0 ? { functionAppScaleLimit: maximumInstances } : {})
  ...(elastic
    ? {
        healthCheckPath: '/api/health'
        minimumElasticInstanceCount: 1
        functionsRuntimeScaleMonitoringEnabled: scaleMonitoring
      }
    : {})
}

var flexConfig = {
  deployment: {
    storage: {
      type: 'blobContainer'
      value: 'https://${hostStorageName}.blob.${storageSuffix}/app-package'
      authentication: {
        type: 'UserAssignedIdentity'
        userAssignedIdentityResourceId: identityId
      }
    }
  }
  runtime: { name: 'python', version: pythonVersion }
  siteUpdateStrategy: { type: siteUpdateStrategy }
  scaleAndConcurrency: {
    instanceMemoryMB: instanceMemoryMB
    maximumInstanceCount: maximumInstances == 0 ? 100 : maximumInstances
    // The default for Python is one call for each instance, so each waiting caller would need one.
    triggers: { http: { perInstanceConcurrency: 100 } }
  }
}

var siteProperties = {
  serverFarmId: planId
  httpsOnly: true
  clientAffinityEnabled: false
  publicNetworkAccess: 'Enabled'
  keyVaultReferenceIdentity: identityId
  siteConfig: siteConfig
  ...(empty(subnetId)
    ? {}
    : {
        virtualNetworkSubnetId: subnetId
        // Flex Consumption sends all its traffic there in any case.
        ...(elastic ? { outboundVnetRouting: { allTraffic: true, contentShareTraffic: true } } : {})
      })
}

var identities = {
  type: 'SystemAssigned, UserAssigned'
  userAssignedIdentities: { '${identityId}': {} }
}

resource site 'Microsoft.Web/sites@2025-03-01' = {
  name: name
  location: location
  tags: { ...tags, 'azd-service-name': app }
  kind: 'functionapp,linux'
  identity: identities
  // Azure has siteUpdateStrategy, but the types of Bicep do not have it yet.
  #disable-next-line BCP037
  properties: { ...siteProperties, ...(flex ? { functionAppConfig: flexConfig } : {}) }

  resource appSettings 'config' = {
    name: 'appsettings'
    properties: {
      ...sharedSettings
      ...(elastic ? { WEBSITE_CONTENTSHARE: shares[swapped ? 1 : 0] } : {})
      ...(publishByKey
        ? {
            AzureWebJobsStorage: 'DefaultEndpointsProtocol=https;AccountName=${storage.name};AccountKey=${storage.listKeys().keys[0].value};EndpointSuffix=${storageSuffix}'
          }
        : {})
    }
    dependsOn: [vault::contentKey]
  }

  // Code is published with a token, not with the password of the site.
  resource ftpPassword 'basicPublishingCredentialsPolicies' = {
    name: 'ftp'
    properties: { allow: false }
  }

  resource scmPassword 'basicPublishingCredentialsPolicies' = {
    name: 'scm'
    properties: { allow: false }
  }

  resource stickySettings 'config' = if (elastic && stagingSlot) {
    name: 'slotConfigNames'
    properties: { appSettingNames: map(triggers, trigger => 'AzureWebJobs.${trigger}.Disabled') }
  }

  resource slot 'slots' = if (elastic && stagingSlot) {
    name: slotName
    location: location
    tags: tags
    kind: 'functionapp,linux'
    identity: identities
    properties: siteProperties

    resource slotSettings 'config' = {
      name: 'appsettings'
      properties: {
        ...sharedSettings
        WEBSITE_CONTENTSHARE: shares[swapped ? 0 : 1]
        ...toObject(triggers, trigger => 'AzureWebJobs.${trigger}.Disabled', trigger => '1')
      }
      dependsOn: [vault::contentKey]
    }

    // The policies of the site do not apply to its slot.
    resource slotFtpPassword 'basicPublishingCredentialsPolicies' = {
      name: 'ftp'
      properties: { allow: false }
    }

    resource slotScmPassword 'basicPublishingCredentialsPolicies' = {
      name: 'scm'
      properties: { allow: false }
    }
  }
}

module signInSettings 'sign-in.bicep' = if (signInWith != null) {
  params: {
    siteName: site.name
    slotName: elastic && stagingSlot ? slotName : ''
    settings: signInWith!
  }
  dependsOn: [site::slot]
}

@description('Id of the function app.')
output id string = site.id

@description('Host name of the function app.')
output hostName string = site.properties.defaultHostName

@description('Object id of its system-assigned identity.')
output systemPrincipalId string = site.identity.principalId
