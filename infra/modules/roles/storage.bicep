metadata description = 'Roles on a storage account, on single containers and on single tables.'

import { roleIds, partRole } from 'ids.bicep'

@description('Required. Name of the account.')
param accountName string

@description('Required. Object id of the principal that gets the roles.')
param principalId string

@description('Optional. Type of the principal.')
@allowed(['User', 'Group', 'ServicePrincipal'])
param principalType string = 'ServicePrincipal'

@description('Optional. Names of roles on the whole account.')
param accountRoles string[] = []

@description('Optional. Roles on containers.')
param containerRoles partRole[] = []

@description('Optional. Roles on tables.')
param tableRoles partRole[] = []

resource account 'Microsoft.Storage/storageAccounts@2025-06-01' existing = {
  name: accountName

  resource blobService 'blobServices' existing = {
    name: 'default'

    resource container 'containers' existing = [for item in containerRoles: { name: item.name }]
  }

  resource tableService 'tableServices' existing = {
    name: 'default'

    resource table 'tables' existing = [for item in tableRoles: { name: item.name }]
  }
}

@retryOn(['PrincipalNotFound'], 10)
resource onAccount 'Microsoft.Authorization/roleAssignments@2022-04-01' = [
  for role in accountRoles: {
    // An assignment cannot change its principal, so its name contains the principal's id.
    #disable-next-line what-if-short-circuiting
    name: guid(account.id, principalId, role)
    scope: account
    properties: {
      principalId: principalId
      principalType: principalType
      roleDefinitionId: subscriptionResourceId('Microsoft.Authorization/roleDefinitions', roleIds[role])
      description: '${role} on ${accountName}'
    }
  }
]

@retryOn(['PrincipalNotFound'], 10)
resource onContainer 'Microsoft.Authorization/roleAssignments@2022-04-01' = [
  for (item, i) in containerRoles: {
    #disable-next-line what-if-short-circuiting
    name: guid(account.id, item.name, principalId, item.role)
    scope: account::blobService::container[i]
    properties: {
      principalId: principalId
      principalType: principalType
      roleDefinitionId: subscriptionResourceId('Microsoft.Authorization/roleDefinitions', roleIds[item.role])
      description: '${item.role} on ${accountName}/${item.name}'
      ...(contains(item, 'condition') ? { condition: item.?condition, conditionVersion: '2.0' } : {})
    }
  }
]

@retryOn(['PrincipalNotFound'], 10)
resource onTable 'Microsoft.Authorization/roleAssignments@2022-04-01' = [
  for (item, i) in tableRoles: {
    #disable-next-line what-if-short-circuiting
    name: guid(account.id, item.name, principalId, item.role)
    scope: account::tableService::table[i]
    properties: {
      principalId: principalId
      principalType: principalType
      roleDefinitionId: subscriptionResourceId('Microsoft.Authorization/roleDefinitions', roleIds[item.role])
      description: '${item.role} on ${accountName}/${item.name}'
    }
  }
]
