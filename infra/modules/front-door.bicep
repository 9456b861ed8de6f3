metadata description = 'Front Door. It sends callers to the first region while the main app there is healthy, else to the second.'

import { tagSet } from 'types.bicep'

@description('Required. Tags of every resource.')
param tags tagSet

@description('Required. Name of the profile.')
param name string

@description('Required. Name of the endpoint, unique in the world.')
param endpointName string

@description('Required. Host names of the main app, the preferred region first.')
@minLength(1)
@maxLength(5)
param hostNames string[]

@description('Optional. Seconds between two probes of one Front Door location. There are about a hundred locations, and the app logs each probe.')
@minValue(5)
@maxValue(255)
param probeSeconds int = 30

resource profile 'Microsoft.Cdn/profiles@2025-06-01' = {
  name: name
  location: 'global'
  tags: tags
  sku: { name: 'Standard_AzureFrontDoor' }
  properties: {
    // A caller may wait 220 s for the end of its run.
    originResponseTimeoutSeconds: 240
  }

  resource endpoint 'afdEndpoints' = {
    name: endpointName
    location: 'global'
    tags: tags
    properties: { enabledState: 'Enabled' }

    resource route 'routes' = {
      name: 'api'
      properties: {
        originGroup: { id: profile::group.id }
        patternsToMatch: ['/api/*']
        supportedProtocols: ['Https']
        forwardingProtocol: 'HttpsOnly'
        httpsRedirect: 'Disabled'
        linkToDefaultDomain: 'Enabled'
        enabledState: 'Enabled'
      }
      dependsOn: [profile::group::origin]
    }
  }

  resource group 'originGroups' = {
    name: 'main'
    properties: {
      loadBalancingSettings: {
        sampleSize: 4
        successfulSamplesRequired: 2
        additionalLatencyInMilliseconds: 0
      }
      healthProbeSettings: {
        probePath: '/api/health'
        probeProtocol: 'Https'
        probeRequestType: 'GET'
        probeIntervalInSeconds: probeSeconds
      }
      sessionAffinityState: 'Disabled'
    }

    resource origin 'origins' = [
      for (hostName, i) in hostNames: {
        name: 'region-${i + 1}'
        properties: {
          hostName: hostName
          originHostHeader: hostName
          httpsPort: 443
          priority: min(i + 1, 5)
          weight: 1000
          enabledState: 'Enabled'
          enforceCertificateNameCheck: true
        }
      }
    ]
  }
}

@description('Address that callers use.')
output hostName string = profile::endpoint.properties.hostName

@description('The id that Front Door sends in the header X-Azure-FDID.')
output frontDoorId string = profile.properties.frontDoorId
