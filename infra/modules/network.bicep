metadata description = 'A virtual network with a subnet for the function apps, a subnet for private endpoints, and rules for the traffic between them.'

import { tagSet } from 'types.bicep'
import { privateService, zoneOf } from 'private-zones.bicep'

@description('Required. Region.')
param location string

@description('Required. Tags of every resource.')
param tags tagSet

@description('Required. Name of the virtual network.')
param name string

@description('Optional. Address space; a /24 or larger.')
param addressPrefix string = '10.20.0.0/16'

@description('Required. The service that runs the apps: Flex Consumption (true) or Elastic Premium (false). Each has a subnet delegation of its own.')
param flexConsumption bool

@description('Optional. Services whose private DNS zones are created and linked.')
param privateServices privateService[] = []

var appsPrefix = cidrSubnet(addressPrefix, 24, 0)
var endpointsPrefix = cidrSubnet(addressPrefix, 24, 1)
var zoneNames = map(privateServices, service => zoneOf(service, az.environment().suffixes.storage))
var anywhere = { protocol: '*', sourcePortRange: '*' }

resource appsGroup 'Microsoft.Network/networkSecurityGroups@2025-05-01' = {
  name: '${name}-functions-nsg'
  location: location
  tags: tags
  properties: {
    securityRules: [
      {
        name: 'to-private-endpoints'
        properties: {
          ...anywhere
          direction: 'Outbound'
          access: 'Allow'
          priority: 100
          sourceAddressPrefix: appsPrefix
          destinationAddressPrefix: endpointsPrefix
          destinationPortRanges: ['443', '445', '5671']
        }
      }
      {
        // The instances of a plan talk to each other.
        name: 'to-each-other'
        properties: {
          ...anywhere
          direction: 'Outbound'
          access: 'Allow'
          priority: 105
          sourceAddressPrefix: appsPrefix
          destinationAddressPrefix: appsPrefix
          destinationPortRange: '*'
        }
      }
      {
        // The model, MCP servers, Entra ID, Azure Monitor, and services without a private endpoint.
        name: 'to-internet'
        properties: {
          ...anywhere
          direction: 'Outbound'
          access: 'Allow'
          priority: 110
          sourceAddressPrefix: appsPrefix
          destinationAddressPrefix: 'Internet'
          destinationPortRanges: ['443', '445', '5671']
        }
      }
      {
        name: 'to-the-rest-of-the-network'
        properties: {
          ...anywhere
          direction: 'Outbound'
          access: 'Deny'
          priority: 4000
          sourceAddressPrefix: '*'
          destinationAddressPrefix: 'VirtualNetwork'
          destinationPortRange: '*'
        }
      }
      {
        name: 'from-each-other'
        properties: {
          ...anywhere
          direction: 'Inbound'
          access: 'Allow'
          priority: 105
          sourceAddressPrefix: appsPrefix
          destinationAddressPrefix: appsPrefix
          destinationPortRange: '*'
        }
      }
      {
        // Callers use the public front end of the apps, never this subnet.
        name: 'from-the-network'
        properties: {
          ...anywhere
          direction: 'Inbound'
          access: 'Deny'
          priority: 4000
          sourceAddressPrefix: 'VirtualNetwork'
          destinationAddressPrefix: '*'
          destinationPortRange: '*'
        }
      }
    ]
  }
}

resource endpointsGroup 'Microsoft.Network/networkSecurityGroups@2025-05-01' = {
  name: '${name}-endpoints-nsg'
  location: location
  tags: tags
  properties: {
    securityRules: [
      {
        name: 'from-functions'
        properties: {
          ...anywhere
          direction: 'Inbound'
          access: 'Allow'
          priority: 100
          sourceAddressPrefix: appsPrefix
          destinationAddressPrefix: endpointsPrefix
          destinationPortRanges: ['443', '445', '5671']
        }
      }
      {
        name: 'from-anything-else'
        properties: {
          ...anywhere
          direction: 'Inbound'
          access: 'Deny'
          priority: 4000
          sourceAddressPrefix: '*'
          destinationAddressPrefix: '*'
          destinationPortRange: '*'
        }
      }
    ]
  }
}

resource network 'Microsoft.Network/virtualNetworks@2025-05-01' = {
  name: name
  location: location
  tags: tags
  properties: {
    addressSpace: { addressPrefixes: [addressPrefix] }
    // Subnets are declared inside the network. As separate resources, a second deployment of the
    // network would try to remove them.
    subnets: [
      {
        name: 'subnet-functions'
        properties: {
          addressPrefix: appsPrefix
          networkSecurityGroup: { id: appsGroup.id }
          delegations: [
            {
              name: 'functions'
              properties: {
                serviceName: flexConsumption ? 'Microsoft.App/environments' : 'Microsoft.Web/serverFarms'
              }
            }
          ]
        }
      }
      {
        name: 'subnet-endpoints'
        properties: {
          addressPrefix: endpointsPrefix
          networkSecurityGroup: { id: endpointsGroup.id }
          privateEndpointNetworkPolicies: 'Enabled'
        }
      }
    ]
  }
}

resource zone 'Microsoft.Network/privateDnsZones@2024-06-01' = [
  for (service, i) in privateServices: {
    name: zoneNames[i]
    location: 'global'
    tags: tags
  }
]

resource link 'Microsoft.Network/privateDnsZones/virtualNetworkLinks@2024-06-01' = [
  for (service, i) in privateServices: {
    parent: zone[i]
    name: name
    location: 'global'
    tags: tags
    properties: {
      virtualNetwork: { id: network.id }
      registrationEnabled: false
    }
  }
]

@description('Id of the network.')
output id string = network.id
