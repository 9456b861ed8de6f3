metadata description = 'Where do the tables live with stateStore = cosmos? Cosmos DB for Table, with continuous backup; the tables and who may use them.'

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

@description('Required. Object ids of those who read and write them.')
param principalIds string[]

@description('Optional. Close the account to the internet; only private endpoints lead in.')
param closed bool = false

@description('Optional. Pay for requests instead of for provisioned throughput.')
param serverless bool = true

@description('Optional. Let nobody delete it before the lock is taken off.')
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
    // The rules of the road need to read what was just written.
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
    // An assignment cannot move to another principal, so its name holds the principal's id.
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
