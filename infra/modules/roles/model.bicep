metadata description = 'A role on an Azure OpenAI account, which may be in another resource group.'

import { roleIds } from 'ids.bicep'

@description('Required. Name of the Azure OpenAI account.')
param accountName string

@description('Required. Object id of the caller.')
param principalId string

var role = 'Cognitive Services OpenAI User'

resource account 'Microsoft.CognitiveServices/accounts@2025-06-01' existing = {
  name: accountName
}

@retryOn(['PrincipalNotFound'], 10)
resource assignment 'Microsoft.Authorization/roleAssignments@2022-04-01' = {
  // An assignment cannot change its principal, so its name contains the principal's id.
  #disable-next-line what-if-short-circuiting
  name: guid(account.id, principalId, role)
  scope: account
  properties: {
    principalId: principalId
    principalType: 'ServicePrincipal'
    roleDefinitionId: subscriptionResourceId('Microsoft.Authorization/roleDefinitions', roleIds[role])
    description: '${role} on ${accountName}'
  }
}
