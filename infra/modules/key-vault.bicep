metadata description = 'A key vault with roles instead of access policies. The mcp app has a vault of its own, because a right to read applies to a whole vault.'

import { tagSet } from 'types.bicep'

@description('Required. Region.')
param location string

@description('Required. Tags of every resource.')
param tags tagSet

@description('Required. Name of the vault.')
@minLength(3)
@maxLength(24)
param name string

@description('Optional. Keep deleted secrets for 90 days and forbid to purge them. Neither can be undone. Without it they are kept for 7 days.')
param protected bool = false

@description('Optional. Close the vault to the internet. It is then reached only through private endpoints.')
param closed bool = false

@description('Optional. Id of the Log Analytics workspace for audit logs; empty for none.')
param workspaceId string = ''

@description('Optional. Lock it against deletion.')
param locked bool = false

resource vault 'Microsoft.KeyVault/vaults@2025-05-01' = {
  name: name
  location: location
  tags: tags
  properties: {
    tenantId: tenant().tenantId
    sku: { family: 'A', name: 'standard' }
    enableRbacAuthorization: true
    enableSoftDelete: true
    softDeleteRetentionInDays: protected ? 90 : 7
    // The service refuses false, so the property is left out.
    ...(protected ? { enablePurgeProtection: true } : {})
    publicNetworkAccess: closed ? 'Disabled' : 'Enabled'
    networkAcls: { bypass: 'AzureServices', defaultAction: closed ? 'Deny' : 'Allow' }
  }
}

resource told 'Microsoft.Insights/diagnosticSettings@2021-05-01-preview' = if (!empty(workspaceId)) {
  name: 'to-log-analytics'
  scope: vault
  properties: {
    workspaceId: workspaceId
    logs: [{ categoryGroup: 'audit', enabled: true }]
  }
}

resource lock 'Microsoft.Authorization/locks@2020-05-01' = if (locked) {
  name: 'keep-${name}'
  scope: vault
  properties: { level: 'CanNotDelete', notes: 'Holds the secrets of AOS.' }
}

@description('Id of the vault.')
output id string = vault.id

@description('Address of the vault.')
output uri string = vault.properties.vaultUri
