metadata description = 'An availability test of an app from three locations. The alert fires when two of them get no answer.'

import { tagSet, alertTarget } from '../types.bicep'

@description('Required. Region.')
param location string

@description('Required. Tags of every resource.')
param tags tagSet

@description('Required. Name of the function app.')
param appName string

@description('Required. Host name of the function app.')
param hostName string

@description('Required. Id of the Application Insights component.')
param insightsId string

@description('Optional. Seconds between two tests from one location.')
@minValue(300)
@maxValue(900)
param frequencySeconds int = 300

@description('Required. Receivers of the alert.')
param targets alertTarget[]

var places = ['us-va-ash-azr', 'emea-nl-ams-azr', 'apac-sg-sin-azr']

resource probe 'Microsoft.Insights/webtests@2022-06-15' = {
  name: 'health-${appName}'
  location: location
  // The service finds the component of a test by this tag.
  tags: { ...tags, 'hidden-link:${insightsId}': 'Resource' }
  kind: 'standard'
  properties: {
    SyntheticMonitorId: 'health-${appName}'
    Name: 'health-${appName}'
    Kind: 'standard'
    Enabled: true
    Frequency: frequencySeconds
    Timeout: 60
    RetryEnabled: true
    Locations: [for place in places: { Id: place }]
    Request: { HttpVerb: 'GET', RequestUrl: 'https://${hostName}/api/health', ParseDependentRequests: false }
    ValidationRules: { ExpectedHttpStatusCode: 200, SSLCheck: true, SSLCertRemainingLifetimeCheck: 7 }
  }
}

resource alert 'Microsoft.Insights/metricAlerts@2018-03-01' = {
  name: 'FunctionAppDown-${appName}'
  location: 'global'
  tags: { ...tags, 'hidden-link:${insightsId}': 'Resource', 'hidden-link:${probe.id}': 'Resource' }
  properties: {
    description: '${appName} does not answer at /api/health: see docs/runbooks/incident.md.'
    severity: 0
    enabled: true
    autoMitigate: true
    scopes: [probe.id, insightsId]
    // A window must contain a test of each location, so that failures of several locations are counted.
    windowSize: frequencySeconds == 300 ? 'PT5M' : 'PT15M'
    evaluationFrequency: 'PT1M'
    criteria: {
      'odata.type': 'Microsoft.Azure.Monitor.WebtestLocationAvailabilityCriteria'
      webTestId: probe.id
      componentId: insightsId
      failedLocationCount: 2
    }
    actions: targets
  }
}

@description('Id of the alert.')
output id string = alert.id
