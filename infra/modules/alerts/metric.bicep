metadata description = 'Is one number of one resource out of bounds? A metric alert.'

import { tagSet, alertTarget } from '../types.bicep'

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

@description('Required. Id of the resource that is watched.')
param targetId string

@description('Required. Namespace of the metric.')
param metricNamespace string

@description('Required. Name of the metric.')
param metricName string

@description('Required. How values of a window become one.')
@allowed(['Average', 'Count', 'Maximum', 'Minimum', 'Total'])
param aggregation string

@description('Required. How that one is compared.')
@allowed(['GreaterThan', 'LessThan'])
param operator string

@description('Required. What it is compared with.')
param threshold int

@description('Optional. Dimension by which the metric is looked at one by one; empty for none.')
param dimension string = ''

@description('Optional. Length of the window.')
param window string = 'PT5M'

@description('Optional. How often it is looked at.')
param frequency string = 'PT1M'

@description('Required. Whom it tells.')
param targets alertTarget[]

resource alert 'Microsoft.Insights/metricAlerts@2018-03-01' = {
  name: name
  location: 'global'
  tags: tags
  properties: {
    description: meaning
    severity: severity
    enabled: true
    autoMitigate: true
    scopes: [targetId]
    windowSize: window
    evaluationFrequency: frequency
    criteria: {
      'odata.type': 'Microsoft.Azure.Monitor.SingleResourceMultipleMetricCriteria'
      allOf: [
        {
          criterionType: 'StaticThresholdCriterion'
          name: metricName
          metricNamespace: metricNamespace
          metricName: metricName
          timeAggregation: aggregation
          operator: operator
          threshold: threshold
          dimensions: empty(dimension) ? [] : [{ name: dimension, operator: 'Include', values: ['*'] }]
        }
      ]
    }
    actions: targets
  }
}

@description('Id of the alert.')
output id string = alert.id
