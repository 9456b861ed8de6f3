metadata description = 'Connection strings in the vault, under the names of the deployment plan, for apps that do not connect by identity.'

@description('Required. Name of the vault.')
param vaultName string

@description('Required. Name of the Service Bus namespace.')
param serviceBusName string

@description('Required. Name of the storage account of the state.')
param storageName string

resource storage 'Microsoft.Storage/storageAccounts@2025-06-01' existing = {
  name: storageName
}

resource namespace 'Microsoft.ServiceBus/namespaces@2026-01-01' existing = {
  name: serviceBusName

  resource key 'AuthorizationRules' existing = {
    name: 'RootManageSharedAccessKey'
  }
}

// The secrets are written once. A second deployment does not change them, so write rotated keys
// with `az keyvault secret set`.
resource vault 'Microsoft.KeyVault/vaults@2025-05-01' existing = {
  name: vaultName

  @onlyIfNotExists()
  resource serviceBus 'secrets' = {
    name: 'ServiceBusConnectionString'
    properties: { contentType: 'text/plain', value: namespace::key.listKeys().primaryConnectionString }
  }

  @onlyIfNotExists()
  resource state 'secrets' = {
    name: 'StorageConnectionString'
    properties: {
      contentType: 'text/plain'
      value: 'DefaultEndpointsProtocol=https;AccountName=${storage.name};AccountKey=${storage.listKeys().keys[0].value};EndpointSuffix=${az.environment().suffixes.storage}'
    }
  }
}
