metadata description = 'Alerts on the activity log: unhealthy resources and failed deployments.'

import { tagSet, alertTarget } from '../types.bicep'

@description('Required. Tags of every resource.')
param tags tagSet

@description('Required. Receivers of critical alerts.')
param critical alertTarget[]

@description('Required. Receivers of warnings.')
param warning alertTarget[]

resource unhealthy 'Microsoft.Insights/activityLogAlerts@2020-10-01' = {
  name: 'UnhealthyResources'
  location: 'global'
  tags: tags
  properties: {
    description: 'Azure itself says that a resource of the group is not available: see Resource Health.'
    enabled: true
    scopes: [resourceGroup().id]
    condition: {
      allOf: [
        { field: 'category', equals: 'ResourceHealth' }
        { field: 'status', equals: 'Active' }
        {
          anyOf: [
            { field: 'properties.currentHealthStatus', equals: 'Unavailable' }
            { field: 'properties.currentHealthStatus', equals: 'Degraded' }
          ]
        }
      ]
    }
    actions: { actionGroups: critical }
  }
}

resource deployments 'Microsoft.Insights/activityLogAlerts@2020-10-01' = {
  name: 'DeploymentFailures'
  location: 'global'
  tags: tags
  properties: {
    description: 'A deployment into the group failed: see its operations, or infra/audit.'
    enabled: true
    scopes: [resourceGroup().id]
    condition: {
      allOf: [
        { field: 'category', equals: 'Administrative' }
        { field: 'operationName', equals: 'Microsoft.Resources/deployments/write' }
        { field: 'status', equals: 'Failed' }
      ]
    }
    actions: { actionGroups: warning }
  }
}
