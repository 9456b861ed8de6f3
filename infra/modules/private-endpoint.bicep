metadata description = 'A private endpoint of a service, and its name in the private DNS zone.'

import { tagSet } from 'types.bicep'
import { privateService, zoneOf } from 'private-zones.bicep'

@description('Required. Region.')
param location string

@description('Required. Tags of every resource.')
param tags tagSet

@description('Required. Name of the endpoint.')
param name string

@description('Required. Id of the service.')
param serviceId string

@description('Required. Part of the service: blob, queue, table, file, namespace, vault or Table.')
param group string

@description('Required. Id of the subnet.')
param subnetId string

@description('Required. Service whose private DNS zone gets the name.')
param service privateService

var zoneName = zoneOf(service, az.environment().suffixes.storage)

resource endpoint 'Microsoft.Network/privateEndpoints@2025-05-01' = {
  name: name
  location: location
  tags: tags
  properties: {
    subnet: { id: subnetId }
    customNetworkInterfaceName: '${name}-nic'
    privateLinkServiceConnections: [
      {
        name: name
        properties: { privateLinkServiceId: serviceId, groupIds: [group] }
      }
    ]
  }
}

resource zone 'Microsoft.Network/privateDnsZones@2024-06-01' existing = {
  name: zoneName
}

resource zoneGroup 'Microsoft.Network/privateEndpoints/privateDnsZoneGroups@2025-05-01' = {
  parent: endpoint
  name: 'default'
  properties: {
    privateDnsZoneConfigs: [
      { name: replace(zoneName, '.', '-'), properties: { privateDnsZoneId: zone.id } }
    ]
  }
}

@description('Id of the endpoint.')
output id string = endpoint.id
