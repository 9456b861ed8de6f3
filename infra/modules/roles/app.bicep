metadata description = 'All roles of one app: on its host storage, the state, the bus, its vault and telemetry.'

import { appGrants } from 'ids.bicep'

@description('Required. Object id of the identity of the app.')
param principalId string

@description('Required. The rights of the app on the state and the bus.')
param grants appGrants

@description('Required. Name of the storage account of its Functions host.')
param hostStorageName string

@description('Required. Name of the storage account of the state.')
param dataStorageName string

@description('Required. Name of the Service Bus namespace.')
param serviceBusName string

@description('Required. Name of its vault.')
param vaultName string

@description('Optional. Name of the Application Insights component; empty without monitoring.')
param insightsName string = ''

@description('Optional. Whether tables are in the storage account (not in Cosmos DB).')
param tablesInStorage bool = true

var tableRole = 'Storage Table Data Contributor'

module hostStorage 'storage.bicep' = {
  params: {
    accountName: hostStorageName
    principalId: principalId
    accountRoles: ['Storage Blob Data Owner', 'Storage Queue Data Contributor', tableRole]
  }
}

module dataStorage 'storage.bicep' = {
  params: {
    accountName: dataStorageName
    principalId: principalId
    accountRoles: filter(grants.account, role => tablesInStorage || role != tableRole)
    containerRoles: grants.containers
    tableRoles: tablesInStorage ? grants.tables : []
  }
}

module serviceBus 'service-bus.bicep' = {
  params: {
    namespaceName: serviceBusName
    principalId: principalId
    queueRoles: grants.queues
    topicRoles: grants.topics
    subscriptionRoles: grants.subscriptions
  }
}

module vault 'key-vault.bicep' = {
  params: { vaultName: vaultName, principalId: principalId }
}

module telemetry 'insights.bicep' = if (!empty(insightsName)) {
  params: { insightsName: insightsName, principalId: principalId }
}
