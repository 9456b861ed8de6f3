metadata description = 'An alert on one metric of one resource.'

import { tagSet, alertTarget } from '../types.bicep'

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

@description('Required. Id of the monitored resource.')
param targetId string

@description('Required. Namespace of the metric.')
param metricNamespace string

@description('Required. Name of the metric.')
param metricName string

@description('Required. Aggregation of the values in a window.')
@allowed(['Average', 'Count', 'Maximum', 'Minimum', 'Total'])
param aggregation string

@description('Required. Comparison with the threshold.')
@allowed(['GreaterThan', 'LessThan'])
param operator string

@description('Required. Threshold.')
param threshold int

@description('Optional. Dimension that splits the metric; empty for none.')
param dimension string = ''

@description('Optional. Length of the window.')
param window string = 'PT5M'

@description('Optional. Time between two evaluations.')
param frequency string = 'PT1M'

@description('Required. Receivers of the alert.')
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
