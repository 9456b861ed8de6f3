metadata description = 'Cosmos DB for Table with continuous backup: the tables for stateStore = cosmos, and who may use them.'

import { tagSet } from 'types.bicep'

@description('Required. Region.')
param location string

@description('Required. Tags of every resource.')
param tags tagSet

@description('Required. Name of the account.')
@minLength(3)
@maxLength(44)
param name string

@description('Required. Names of the tables.')
param tables string[]

@description('Required. Object ids of the principals that read and write the tables.')
param principalIds string[]

@description('Optional. Close the account to the internet. It is then reached only through private endpoints.')
param closed bool = false

@description('Optional. Use serverless billing: pay for requests instead of provisioned throughput.')
param serverless bool = true

@description('Optional. Lock it against deletion.')
param locked bool = false

// Cosmos DB Built-in Data Contributor of the Table API.
var contributor = '00000000-0000-0000-0000-000000000002'

resource account 'Microsoft.DocumentDB/databaseAccounts@2025-04-15' = {
  name: name
  location: location
  tags: tags
  kind: 'GlobalDocumentDB'
  properties: {
    databaseAccountOfferType: 'Standard'
    capabilities: concat([{ name: 'EnableTable' }], serverless ? [{ name: 'EnableServerless' }] : [])
    // AOS must read what it has just written.
    consistencyPolicy: { defaultConsistencyLevel: 'Strong' }
    locations: [{ locationName: location, failoverPriority: 0 }]
    backupPolicy: { type: 'Continuous', continuousModeProperties: { tier: 'Continuous7Days' } }
    disableLocalAuth: true
    minimalTlsVersion: 'Tls12'
    publicNetworkAccess: closed ? 'Disabled' : 'Enabled'
  }

  resource table 'tables' = [
    for tableName in tables: {
      name: tableName
      properties: { resource: { id: tableName } }
    }
  ]
}

resource assignment 'Microsoft.DocumentDB/databaseAccounts/tableRoleAssignments@2025-05-01-preview' = [
  for principalId in principalIds: {
    parent: account
    // An assignment cannot change its principal, so its name contains the principal's id.
    #disable-next-line what-if-short-circuiting
    name: guid(account.id, principalId, contributor)
    properties: {
      principalId: principalId
      roleDefinitionId: '${account.id}/tableRoleDefinitions/${contributor}'
      scope: account.id
    }
  }
]

resource lock 'Microsoft.Authorization/locks@2020-05-01' = if (locked) {
  name: 'keep-${name}'
  scope: account
  properties: { level: 'CanNotDelete', notes: 'Holds the tables of AOS.' }
}

@description('Id of the account.')
output id string = account.id
