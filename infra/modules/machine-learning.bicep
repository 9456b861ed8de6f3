metadata description = 'An Azure Machine Learning workspace with its container registry, for training LoRA adapters. It uses the main storage account.'

import { tagSet } from 'types.bicep'

@description('Required. Region.')
param location string

@description('Required. Tags of every resource.')
param tags tagSet

@description('Required. Name of the workspace.')
@minLength(3)
@maxLength(33)
param name string

@description('Required. Name of the container registry.')
@minLength(5)
@maxLength(50)
param registryName string

@description('Required. Tier of the container registry.')
@allowed(['Basic', 'Standard'])
param registrySku string

@description('Required. Id of the storage account.')
param storageId string

@description('Required. Id of the vault.')
param vaultId string

@description('Optional. Id of the Application Insights component; empty without monitoring.')
param insightsId string = ''

resource registry 'Microsoft.ContainerRegistry/registries@2025-11-01' = {
  name: registryName
  location: location
  tags: tags
  sku: { name: registrySku }
  properties: { adminUserEnabled: false }
}

resource workspace 'Microsoft.MachineLearningServices/workspaces@2025-09-01' = {
  name: name
  location: location
  tags: tags
  sku: { name: 'Basic', tier: 'Basic' }
  identity: { type: 'SystemAssigned' }
  properties: {
    friendlyName: name
    storageAccount: storageId
    keyVault: vaultId
    containerRegistry: registry.id
    // The storage account takes no keys.
    systemDatastoresAuthMode: 'identity'
    ...(empty(insightsId) ? {} : { applicationInsights: insightsId })
  }
}

@description('Id of the workspace.')
output id string = workspace.id
