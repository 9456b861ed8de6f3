metadata description = 'The capabilities of each region. REGIONAL_REQUIREMENTS.md shows this table, and a test compares both.'

@export()
@description('Which of the three services that not every region has are in a region.')
type regionCapabilities = {
  @description('1: all capabilities, as in the deployment plan. 2: see the three columns.')
  tier: 1 | 2

  @description('Azure Machine Learning workspaces.')
  azureML: bool

  @description('Elastic Premium plans (EP1, EP2) of Azure Functions.')
  functionsPremium: bool

  @description('The Premium tier of Service Bus.')
  serviceBusPremium: bool
}

@description('Capabilities of a region that is not in the table: none.')
var unknownRegion regionCapabilities = { tier: 2, azureML: false, functionsPremium: false, serviceBusPremium: false }

@export()
@description('The table: region name to capabilities.')
var regions = {
  eastus: { tier: 1, azureML: true, functionsPremium: true, serviceBusPremium: true }
  eastus2: { tier: 1, azureML: true, functionsPremium: true, serviceBusPremium: true }
  westus2: { tier: 1, azureML: true, functionsPremium: true, serviceBusPremium: true }
  westeurope: { tier: 1, azureML: true, functionsPremium: true, serviceBusPremium: true }
  northeurope: { tier: 1, azureML: true, functionsPremium: true, serviceBusPremium: true }
  southeastasia: { tier: 1, azureML: true, functionsPremium: true, serviceBusPremium: true }
  australiaeast: { tier: 2, azureML: true, functionsPremium: true, serviceBusPremium: true }
  canadacentral: { tier: 2, azureML: true, functionsPremium: true, serviceBusPremium: true }
  centralus: { tier: 2, azureML: true, functionsPremium: true, serviceBusPremium: true }
  francecentral: { tier: 2, azureML: true, functionsPremium: true, serviceBusPremium: true }
  germanywestcentral: { tier: 2, azureML: true, functionsPremium: true, serviceBusPremium: true }
  japaneast: { tier: 2, azureML: true, functionsPremium: true, serviceBusPremium: true }
  swedencentral: { tier: 2, azureML: true, functionsPremium: true, serviceBusPremium: true }
  switzerlandnorth: { tier: 2, azureML: true, functionsPremium: true, serviceBusPremium: true }
  uksouth: { tier: 2, azureML: true, functionsPremium: true, serviceBusPremium: true }
  westus3: { tier: 2, azureML: true, functionsPremium: true, serviceBusPremium: true }
  canadaeast: { tier: 2, azureML: false, functionsPremium: true, serviceBusPremium: true }
  northcentralus: { tier: 2, azureML: false, functionsPremium: true, serviceBusPremium: true }
  ukwest: { tier: 2, azureML: false, functionsPremium: true, serviceBusPremium: true }
  westus: { tier: 2, azureML: false, functionsPremium: true, serviceBusPremium: true }
  westcentralus: { tier: 2, azureML: false, functionsPremium: false, serviceBusPremium: false }
  westindia: { tier: 2, azureML: false, functionsPremium: false, serviceBusPremium: false }
}

@export()
@description('The capabilities of a region, given as eastus2 or as "East US 2".')
func capabilitiesOf(location string) regionCapabilities =>
  regions[?toLower(replace(location, ' ', ''))] ?? unknownRegion
