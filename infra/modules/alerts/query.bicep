metadata description = 'Does a query over the telemetry find something? A scheduled query rule.'

import { tagSet, alertTarget } from '../types.bicep'

@description('Required. Region.')
param location string

@description('Required. Tags of every resource.')
param tags tagSet

@description('Required. Name of the alert.')
param name string

@description('Required. What it means and what to do, in one sentence.')
param meaning string

@description('Required. 0 and 1 page, 2 to 4 mail.')
@minValue(0)
@maxValue(4)
param severity int

@description('Required. Id of the Application Insights component.')
param insightsId string

@description('Required. The query.')
param query string

@description('Required. Column of the query that is compared.')
param column string

@description('Required. What it is compared with: the alert fires above it.')
param threshold int

@description('Optional. Length of the window.')
param window string = 'PT5M'

@description('Optional. How often it is looked at.')
param frequency string = 'PT5M'

@description('Required. Whom it tells.')
param targets alertTarget[]

resource alert 'Microsoft.Insights/scheduledQueryRules@2023-12-01' = {
  name: name
  location: location
  tags: tags
  kind: 'LogAlert'
  properties: {
    displayName: name
    description: meaning
    severity: severity
    enabled: true
    autoMitigate: true
    scopes: [insightsId]
    windowSize: window
    evaluationFrequency: frequency
    criteria: {
      allOf: [
        {
          query: query
          metricMeasureColumn: column
          timeAggregation: 'Maximum'
          operator: 'GreaterThan'
          threshold: threshold
          failingPeriods: { numberOfEvaluationPeriods: 1, minFailingPeriodsToAlert: 1 }
        }
      ]
    }
    actions: { actionGroups: map(targets, target => target.actionGroupId) }
  }
}

@description('Id of the alert.')
output id string = alert.id
