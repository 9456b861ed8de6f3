metadata description = 'A backup vault that copies the containers of the state every day. Who can write to the storage account cannot change the copies.'

import { tagSet } from 'types.bicep'
import { roleIds } from 'roles/ids.bicep'

@description('Required. Region.')
param location string

@description('Required. Tags of every resource.')
param tags tagSet

@description('Required. Name of the backup vault.')
param name string

@description('Required. Name of the storage account.')
param storageName string

@description('Required. Containers to copy.')
param containers string[]

@description('Optional. Days for which a copy is kept.')
@minValue(7)
@maxValue(365)
param retentionDays int = 30

@description('Optional. Keep the copies in the paired region, too.')
param geoRedundant bool = false

@description('Optional. Lock it against deletion.')
param locked bool = false

var role = 'Storage Account Backup Contributor'
var blobs = 'Microsoft.Storage/storageAccounts/blobServices'
var vaultStore = { dataStoreType: 'VaultStore', objectType: 'DataStoreInfoBase' }

resource storage 'Microsoft.Storage/storageAccounts@2025-06-01' existing = {
  name: storageName
}

resource vault 'Microsoft.DataProtection/backupVaults@2025-01-01' = {
  name: name
  location: location
  tags: tags
  identity: { type: 'SystemAssigned' }
  properties: {
    storageSettings: [
      { datastoreType: 'VaultStore', type: geoRedundant ? 'GeoRedundant' : 'LocallyRedundant' }
    ]
    securitySettings: { softDeleteSettings: { state: 'On', retentionDurationInDays: 14 } }
  }

  resource policy 'backupPolicies' = {
    name: 'DailyBackup'
    properties: {
      objectType: 'BackupPolicy'
      datasourceTypes: [blobs]
      policyRules: [
        {
          objectType: 'AzureBackupRule'
          name: 'BackupDaily'
          backupParameters: { objectType: 'AzureBackupParams', backupType: 'Discrete' }
          dataStore: vaultStore
          trigger: {
            objectType: 'ScheduleBasedTriggerContext'
            schedule: { repeatingTimeIntervals: ['R/2026-01-01T02:00:00+00:00/P1D'], timeZone: 'UTC' }
            taggingCriteria: [
              { isDefault: true, taggingPriority: 99, tagInfo: { tagName: 'Default' } }
            ]
          }
        }
        {
          objectType: 'AzureRetentionRule'
          name: 'Default'
          isDefault: true
          lifecycles: [
            {
              deleteAfter: { objectType: 'AbsoluteDeleteOption', duration: 'P${retentionDays}D' }
              sourceDataStore: vaultStore
              targetDataStoreCopySettings: []
            }
          ]
        }
      ]
    }
  }
}

@retryOn(['PrincipalNotFound'], 10)
resource mayCopy 'Microsoft.Authorization/roleAssignments@2022-04-01' = {
  name: guid(storage.id, vault.id, role)
  scope: storage
  properties: {
    principalId: vault.identity.principalId
    principalType: 'ServicePrincipal'
    roleDefinitionId: subscriptionResourceId('Microsoft.Authorization/roleDefinitions', roleIds[role])
    description: '${role} on ${storageName}, for the backup vault'
  }
}

resource instance 'Microsoft.DataProtection/backupVaults/backupInstances@2025-01-01' = {
  parent: vault
  name: storageName
  properties: {
    objectType: 'BackupInstance'
    friendlyName: storageName
    dataSourceInfo: {
      objectType: 'Datasource'
      datasourceType: blobs
      resourceID: storage.id
      resourceName: storageName
      resourceType: 'Microsoft.Storage/storageAccounts'
      resourceLocation: location
      resourceUri: storage.id
    }
    policyInfo: {
      policyId: vault::policy.id
      policyParameters: {
        backupDatasourceParametersList: [
          { objectType: 'BlobBackupDatasourceParameters', containersList: containers }
        ]
      }
    }
  }
  dependsOn: [mayCopy]
}

resource lock 'Microsoft.Authorization/locks@2020-05-01' = if (locked) {
  name: 'keep-${name}'
  scope: vault
  properties: { level: 'CanNotDelete', notes: 'Holds the copies of the state of AOS.' }
}

@description('Id of the backup vault.')
output id string = vault.id
