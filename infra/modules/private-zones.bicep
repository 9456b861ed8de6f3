metadata description = 'The private DNS zone of each service.'

@export()
@description('A service that can have a private endpoint.')
type privateService = 'blob' | 'queue' | 'table' | 'file' | 'bus' | 'vault' | 'cosmosTable'

@export()
@description('The private zone of a service, for the storage suffix of the cloud.')
func zoneOf(service privateService, storageSuffix string) string =>
  service == 'bus'
    ? 'privatelink.servicebus.windows.net'
    : service == 'vault'
        ? 'privatelink.vaultcore.azure.net'
        : service == 'cosmosTable' ? 'privatelink.table.cosmos.azure.com' : 'privatelink.${service}.${storageSuffix}'
