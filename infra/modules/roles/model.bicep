metadata description = 'Who may ask the model? A role on an Azure OpenAI account, which may live in another resource group.'

import { roleIds } from 'ids.bicep'

@description('Required. Name of the Azure OpenAI account.')
param accountName string

@description('Required. Object id of who asks.')
param principalId string

var role = 'Cognitive Services OpenAI User'

resource account 'Microsoft.CognitiveServices/accounts@2025-06-01' existing = {
  name: accountName
}

@retryOn(['PrincipalNotFound'], 10)
resource assignment 'Microsoft.Authorization/roleAssignments@2022-04-01' = {
  // An assignment cannot move to another principal, so its name holds the principal's id.
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
