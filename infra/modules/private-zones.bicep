metadata description = 'In which DNS zone is a service found once it is private?'

@export()
@description('A service that can be made private.')
type privateService = 'blob' | 'queue' | 'table' | 'file' | 'bus' | 'vault' | 'cosmosTable'

@export()
@description('The private zone of a service, for the storage suffix of the cloud.')
func zoneOf(service privateService, storageSuffix string) string =>
  service == 'bus'
    ? 'privatelink.servicebus.windows.net'
    : service == 'vault'
        ? 'privatelink.vaultcore.azure.net'
        : service == 'cosmosTable' ? 'privatelink.table.cosmos.azure.com' : 'privatelink.${service}.${storageSuffix}'
