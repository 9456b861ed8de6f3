metadata description = 'A storage account: one for the state of AOS, and one for the Functions host of each app.'

import { tagSet } from 'types.bicep'

@description('Required. Region.')
param location string

@description('Required. Tags of every resource.')
param tags tagSet

@description('Required. Name of the account.')
@minLength(3)
@maxLength(24)
param name string

@description('Optional. Redundancy.')
@allowed(['Standard_LRS', 'Standard_GRS'])
param sku string = 'Standard_LRS'

@description('Optional. Allow access with account keys. Off unless something needs a key.')
param allowSharedKeyAccess bool = false

@description('Optional. Close the account to the internet. It is then reached only through private endpoints.')
param closed bool = false

@description('Optional. Blob containers.')
param containers string[] = []

@description('Optional. Tables.')
param tables string[] = []

@description('Optional. Queues.')
param queues string[] = []

@description('Optional. File shares.')
param shares string[] = []

@description('Optional. Days in which deleted blobs and containers can be restored.')
@minValue(2)
@maxValue(365)
param softDeleteDays int = 7

@description('Optional. Keep versions and a change feed, so that blobs can be restored to a point in time.')
param pointInTimeRestore bool = false

@description('Optional. Id of the Log Analytics workspace for audit logs; empty for none.')
param workspaceId string = ''

@description('Optional. Lock it against deletion.')
param locked bool = false

var versionRules = [
  {
    name: 'old-versions'
    enabled: true
    type: 'Lifecycle'
    definition: {
      filters: { blobTypes: ['blockBlob'] }
      actions: { version: { delete: { daysAfterCreationGreaterThan: softDeleteDays } } }
    }
  }
]

resource account 'Microsoft.Storage/storageAccounts@2025-06-01' = {
  name: name
  location: location
  tags: tags
  kind: 'StorageV2'
  sku: { name: sku }
  properties: {
    accessTier: 'Hot'
    allowBlobPublicAccess: false
    allowCrossTenantReplication: false
    allowSharedKeyAccess: allowSharedKeyAccess
    defaultToOAuthAuthentication: true
    minimumTlsVersion: 'TLS1_2'
    supportsHttpsTrafficOnly: true
    publicNetworkAccess: closed ? 'Disabled' : 'Enabled'
    networkAcls: { bypass: 'AzureServices', defaultAction: closed ? 'Deny' : 'Allow' }
  }

  resource blobService 'blobServices' = {
    name: 'default'
    properties: {
      isVersioningEnabled: pointInTimeRestore
      changeFeed: { enabled: pointInTimeRestore }
      deleteRetentionPolicy: { enabled: true, days: softDeleteDays }
      containerDeleteRetentionPolicy: { enabled: true, days: softDeleteDays }
      // Blobs can only be restored to a time within the soft-delete period.
      restorePolicy: pointInTimeRestore ? { enabled: true, days: softDeleteDays - 1 } : { enabled: false }
    }

    resource container 'containers' = [
      for containerName in containers: {
        name: containerName
        properties: { publicAccess: 'None' }
      }
    ]
  }

  resource tableService 'tableServices' = if (!empty(tables)) {
    name: 'default'

    resource table 'tables' = [for tableName in tables: { name: tableName }]
  }

  resource queueService 'queueServices' = if (!empty(queues)) {
    name: 'default'

    resource queue 'queues' = [for queueName in queues: { name: queueName }]
  }

  resource fileService 'fileServices' = if (!empty(shares)) {
    name: 'default'

    resource share 'shares' = [for shareName in shares: { name: shareName, properties: { shareQuota: 100 } }]
  }

  resource lifecycle 'managementPolicies' = if (pointInTimeRestore) {
    name: 'default'
    properties: { policy: { rules: versionRules } }
    dependsOn: [blobService]
  }
}

// Changes of blobs (cards, transcripts) and deletions of rows. Reads and the rows that each turn
// writes are not logged, because they would be most of the log.
resource blobsTold 'Microsoft.Insights/diagnosticSettings@2021-05-01-preview' = if (!empty(workspaceId)) {
  name: 'to-log-analytics'
  scope: account::blobService
  properties: {
    workspaceId: workspaceId
    logs: [{ category: 'StorageWrite', enabled: true }, { category: 'StorageDelete', enabled: true }]
  }
}

resource tablesTold 'Microsoft.Insights/diagnosticSettings@2021-05-01-preview' = if (!empty(workspaceId) && !empty(tables)) {
  name: 'to-log-analytics'
  scope: account::tableService
  properties: {
    workspaceId: workspaceId
    logs: [{ category: 'StorageDelete', enabled: true }]
  }
}

resource lock 'Microsoft.Authorization/locks@2020-05-01' = if (locked) {
  name: 'keep-${name}'
  scope: account
  properties: { level: 'CanNotDelete', notes: 'Holds the state of AOS.' }
}

@description('Id of the account.')
output id string = account.id
