metadata description = 'What do the function apps run on? One plan for all on Y1, EP1 and EP2; a plan for each app on FC1, which takes no second one.'

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

@description('Optional. Instances that an Elastic Premium plan may grow to.')
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
