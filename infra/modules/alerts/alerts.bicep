metadata description = 'The critical alerts and the warnings of the deployment plan.'

import { tagSet, phone, perApp, alertTarget } from '../types.bicep'

@description('Required. Region.')
param location string

@description('Required. Tags of every resource.')
param tags tagSet

@description('Required. Environment and suffix, as in dev or prod-dr.')
param label string

@description('Optional. Mail addresses for critical alerts.')
param criticalEmails string[] = []

@description('Optional. Phone numbers for critical alerts.')
param criticalPhones phone[] = []

@description('Optional. Web hook of a pager service for critical alerts; empty for none.')
@secure()
param criticalWebhook string = ''

@description('Optional. Mail addresses for warnings.')
param warningEmails string[] = []

@description('Optional. An existing action group that gets all alerts; empty for none.')
param actionGroupId string = ''

@description('Required. Id of the Application Insights component. Empty without monitoring; then there are no alerts on telemetry.')
param insightsId string

@description('Required. Names of the function apps.')
param functionApps perApp

@description('Required. Id of the Service Bus namespace.')
param serviceBusId string

@description('Required. Whether the namespace is Premium. Only Premium has load metrics.')
param premiumBus bool

@description('Required. Id of the storage account of the state.')
param storageId string

@description('Required. Id of the Elastic Premium plan; empty for plans without load metrics.')
param planId string

@description('Optional. Maximum 95th percentile of HTTP durations in milliseconds, without runs that a caller waits for.')
param slowAnswerMilliseconds int = 5000

@description('Optional. Seconds between two availability tests of an app; 0 is none.')
@allowed([0, 300, 600, 900])
param availabilityTestSeconds int = 300

// Names instead of outputs, so that what-if and snapshots show the receivers of each alert.
var criticalName = 'ag-aos-critical-${label}'
var warningName = 'ag-aos-warning-${label}'
var further = empty(actionGroupId) ? [] : [{ actionGroupId: actionGroupId }]
var critical alertTarget[] = [
  { actionGroupId: resourceId('Microsoft.Insights/actionGroups', criticalName) }
  ...further
]
var warning alertTarget[] = [
  { actionGroupId: resourceId('Microsoft.Insights/actionGroups', warningName) }
  ...further
]
var monitored = !empty(insightsId)
var busNamespace = 'Microsoft.ServiceBus/namespaces'
var planNamespace = 'Microsoft.Web/serverfarms'

module groups 'action-groups.bicep' = {
  params: {
    tags: tags
    criticalName: criticalName
    warningName: warningName
    criticalEmails: criticalEmails
    criticalPhones: criticalPhones
    criticalWebhook: criticalWebhook
    warningEmails: warningEmails
  }
}

module down 'availability.bicep' = [
  for app in items(functionApps): if (monitored && availabilityTestSeconds > 0) {
    params: {
      location: location
      tags: tags
      appName: app.value
      hostName: '${app.value}.azurewebsites.net'
      frequencySeconds: max(availabilityTestSeconds, 300)
      insightsId: insightsId
      targets: critical
    }
    dependsOn: [groups]
  }
]

module errorRate 'query.bicep' = if (monitored) {
  params: {
    location: location
    tags: tags
    name: 'ErrorRate'
    meaning: 'More than 5 % of the requests of five minutes failed, of at least 20 or with at least 5 failures; a message counts once, at its first delivery; probes and mistakes of callers (4xx) are not counted: see the workbook, failed requests.'
    severity: 1
    insightsId: insightsId
    query: loadTextContent('error-rate.kql')
    column: 'errorRate'
    threshold: 5
    targets: critical
  }
  dependsOn: [groups]
}

module queueDepth 'metric.bicep' = {
  params: {
    tags: tags
    name: 'ServiceBusQueueDepth'
    meaning: 'More than 1000 messages wait on one entity: its app is down or too slow, see docs/runbooks/scaling.md.'
    severity: 1
    targetId: serviceBusId
    metricNamespace: busNamespace
    metricName: 'ActiveMessages'
    aggregation: 'Average'
    operator: 'GreaterThan'
    threshold: 1000
    dimension: 'EntityName'
    targets: critical
  }
  dependsOn: [groups]
}

module storageDown 'metric.bicep' = {
  params: {
    tags: tags
    name: 'StorageInaccessible'
    meaning: 'The storage account of the state answers less than 99 % of its calls.'
    severity: 0
    targetId: storageId
    metricNamespace: 'Microsoft.Storage/storageAccounts'
    metricName: 'Availability'
    aggregation: 'Average'
    operator: 'LessThan'
    threshold: 99
    targets: critical
  }
  dependsOn: [groups]
}

module exceptions 'metric.bicep' = if (monitored) {
  params: {
    tags: tags
    name: 'HighErrorRate'
    meaning: 'More than 10 exceptions in five minutes: see the workbook, errors.'
    severity: 2
    targetId: insightsId
    metricNamespace: 'microsoft.insights/components'
    metricName: 'exceptions/count'
    aggregation: 'Count'
    operator: 'GreaterThan'
    threshold: 10
    targets: warning
  }
  dependsOn: [groups]
}

module slow 'query.bicep' = if (monitored) {
  params: {
    location: location
    tags: tags
    name: 'ResponseTime'
    meaning: 'HTTP answers are slow, of at least 20 in a quarter of an hour; probes, and runs that a caller waits for, are not counted.'
    severity: 2
    insightsId: insightsId
    query: loadTextContent('response-time.kql')
    column: 'slowest'
    threshold: slowAnswerMilliseconds
    window: 'PT15M'
    targets: warning
  }
  dependsOn: [groups]
}

module unhealthy 'query.bicep' = if (monitored) {
  params: {
    location: location
    tags: tags
    name: 'HealthCheckFailures'
    meaning: 'An app said that something it depends on is away: ask its /api/health what.'
    severity: 2
    insightsId: insightsId
    query: loadTextContent('health-check-failures.kql')
    column: 'failures'
    threshold: 0
    targets: warning
  }
  dependsOn: [groups]
}

module deadLetters 'metric.bicep' = {
  params: {
    tags: tags
    name: 'DeadLetters'
    meaning: 'Messages were given up: docs/OPERATIONS.md, dead letters, says how to read and send them again.'
    severity: 2
    targetId: serviceBusId
    metricNamespace: busNamespace
    metricName: 'DeadletteredMessages'
    aggregation: 'Maximum'
    operator: 'GreaterThan'
    threshold: 0
    dimension: 'EntityName'
    targets: warning
  }
  dependsOn: [groups]
}

module planLoad 'metric.bicep' = [
  for metric in ['CpuPercentage', 'MemoryPercentage']: if (!empty(planId)) {
    params: {
      tags: tags
      name: 'Utilization-${metric}'
      meaning: 'The plan of the function apps works at more than 80 %: see docs/runbooks/scaling.md.'
      severity: 2
      targetId: planId
      metricNamespace: planNamespace
      metricName: metric
      aggregation: 'Average'
      operator: 'GreaterThan'
      threshold: 80
      window: 'PT15M'
      frequency: 'PT5M'
      targets: warning
    }
    dependsOn: [groups]
  }
]

module busLoad 'metric.bicep' = [
  for metric in ['NamespaceCpuUsage', 'NamespaceMemoryUsage']: if (premiumBus) {
    params: {
      tags: tags
      name: 'Utilization-${metric}'
      meaning: 'The Service Bus namespace works at more than 80 %: give it more messaging units.'
      severity: 2
      targetId: serviceBusId
      metricNamespace: busNamespace
      metricName: metric
      aggregation: 'Maximum'
      operator: 'GreaterThan'
      threshold: 80
      window: 'PT15M'
      frequency: 'PT5M'
      targets: warning
    }
    dependsOn: [groups]
  }
]

module activity 'activity.bicep' = {
  params: {
    tags: tags
    critical: critical
    warning: warning
  }
  dependsOn: [groups]
}
