metadata description = 'An alert on a query over the telemetry (a scheduled query rule).'

import { tagSet, alertTarget } from '../types.bicep'

@description('Required. Region.')
param location string

@description('Required. Tags of every resource.')
param tags tagSet

@description('Required. Name of the alert.')
param name string

@description('Required. One sentence: what the alert means and what to do.')
param meaning string

@description('Required. Severity. 0 and 1 are critical, 2 to 4 are warnings.')
@minValue(0)
@maxValue(4)
param severity int

@description('Required. Id of the Application Insights component.')
param insightsId string

@description('Required. The query.')
param query string

@description('Required. Column of the query that is compared with the threshold.')
param column string

@description('Required. Threshold. The alert fires above it.')
param threshold int

@description('Optional. Length of the window.')
param window string = 'PT5M'

@description('Optional. Time between two evaluations.')
param frequency string = 'PT5M'

@description('Required. Receivers of the alert.')
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
