metadata description = 'The plan of the function apps: one for all on Y1, EP1 and EP2, and one for each app on FC1, which allows a single app.'

import { tagSet } from 'types.bicep'

@description('Required. Region.')
param location string

@description('Required. Tags of every resource.')
param tags tagSet

@description('Required. Name of the plan.')
param name string

@description('Required. Plan size.')
@allowed(['Y1', 'EP1', 'EP2', 'FC1'])
param sku string

@description('Optional. Maximum number of instances of an Elastic Premium plan.')
@minValue(1)
@maxValue(100)
param maximumInstances int = 20

@description('Optional. Spread instances over availability zones (not on Y1; needs a region with zones).')
param zoneRedundant bool = false

var tiers = { Y1: 'Dynamic', EP1: 'ElasticPremium', EP2: 'ElasticPremium', FC1: 'FlexConsumption' }
var elastic = startsWith(sku, 'EP')

resource plan 'Microsoft.Web/serverfarms@2025-03-01' = {
  name: name
  location: location
  tags: tags
  kind: elastic ? 'elastic' : 'functionapp'
  sku: { name: sku, tier: tiers[sku] }
  properties: {
    reserved: true
    zoneRedundant: zoneRedundant && sku != 'Y1'
    ...(elastic ? { maximumElasticWorkerCount: maximumInstances } : {})
  }
}

@description('Id of the plan.')
output id string = plan.id
