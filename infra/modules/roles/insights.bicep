metadata description = 'The role that may send telemetry.'

import { roleIds } from 'ids.bicep'

@description('Required. Name of the Application Insights component.')
param insightsName string

@description('Required. Object id of the sender.')
param principalId string

var role = 'Monitoring Metrics Publisher'

resource insights 'Microsoft.Insights/components@2020-02-02' existing = {
  name: insightsName
}

@retryOn(['PrincipalNotFound'], 10)
resource assignment 'Microsoft.Authorization/roleAssignments@2022-04-01' = {
  // An assignment cannot change its principal, so its name contains the principal's id.
  #disable-next-line what-if-short-circuiting
  name: guid(insights.id, principalId, role)
  scope: insights
  properties: {
    principalId: principalId
    principalType: 'ServicePrincipal'
    roleDefinitionId: subscriptionResourceId('Microsoft.Authorization/roleDefinitions', roleIds[role])
    description: '${role} on ${insightsName}'
  }
}
