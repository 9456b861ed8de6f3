metadata description = 'A role on a vault.'

import { roleIds } from 'ids.bicep'

@description('Required. Name of the vault.')
param vaultName string

@description('Required. Object id of the principal that gets the role.')
param principalId string

@description('Optional. Type of the principal.')
@allowed(['User', 'Group', 'ServicePrincipal'])
param principalType string = 'ServicePrincipal'

@description('Optional. Name of the role.')
param role string = 'Key Vault Secrets User'

resource vault 'Microsoft.KeyVault/vaults@2025-05-01' existing = {
  name: vaultName
}

@retryOn(['PrincipalNotFound'], 10)
resource assignment 'Microsoft.Authorization/roleAssignments@2022-04-01' = {
  // An assignment cannot change its principal, so its name contains the principal's id.
  #disable-next-line what-if-short-circuiting
  name: guid(vault.id, principalId, role)
  scope: vault
  properties: {
    principalId: principalId
    principalType: principalType
    roleDefinitionId: subscriptionResourceId('Microsoft.Authorization/roleDefinitions', roleIds[?role]!)
    description: '${role} on ${vaultName}'
  }
}
