metadata description = 'Which settings does each app read? Those of aos/settings.py; what the platform needs is added by function-app.bicep.'

@export()
@description('What the settings are made from.')
type facts = {
  environment: string
  logLevel: string
  samplingRatio: string
  serviceBusHost: string
  storageName: string
  tableEndpoint: string
  vaultName: string
  connectionStrings: bool
  modelEndpoint: string
  modelName: string
  modelNames: string
  modelKey: bool
  publicUrl: string
  replyQueues: string[]
  keyOwners: string
  adminKeys: string
  mcpAllowed: string
  mcpVaultUri: string
  catalogSeconds: int
  menderSeconds: int
  listingSeconds: int
  more: { *: string }
}

// Each one that azure-monitor-opentelemetry knows; a test holds the list against the package.
var instrumentations = [
  'azure_sdk'
  'django'
  'fastapi'
  'flask'
  'httpx'
  'httpx2'
  'psycopg2'
  'requests'
  'urllib'
  'urllib3'
]

@description('A reference to a secret.')
func secret(vaultName string, name string) string => '@Microsoft.KeyVault(VaultName=${vaultName};SecretName=${name})'

@description('What every app reads.')
func shared(app string, auth string, known facts) { *: string } => {
  // Before all others: none of them can be replaced by it.
  ...known.more
  // A package that is published to another app's site refuses to start.
  AOS_APP: app
  AOS_ENVIRONMENT: known.environment
  AOS_LOG_LEVEL: known.logLevel
  AOS_AUTH: auth
  // Development would mean: no keys, everybody is an admin.
  AZURE_FUNCTIONS_ENVIRONMENT: 'Production'
  // The one sampler that host and worker both know, so that they keep the same traces; without it
  // the host keeps five a second.
  OTEL_TRACES_SAMPLER: 'microsoft.fixed_percentage'
  OTEL_TRACES_SAMPLER_ARG: known.samplingRatio
}

@description('How an app reaches the bus and the state by its identity.')
func byIdentity(clientId string, known facts) { *: string } => {
  AZURE_SERVICEBUS_CONNECTION_STRING__fullyQualifiedNamespace: known.serviceBusHost
  AZURE_SERVICEBUS_CONNECTION_STRING__credential: 'managedidentity'
  AZURE_SERVICEBUS_CONNECTION_STRING__clientId: clientId
  AZURE_STORAGE_CONNECTION_STRING__accountName: known.storageName
  AZURE_STORAGE_CONNECTION_STRING__credential: 'managedidentity'
  AZURE_STORAGE_CONNECTION_STRING__clientId: clientId
  ...(empty(known.tableEndpoint) ? {} : { AZURE_STORAGE_CONNECTION_STRING__tableServiceUri: known.tableEndpoint })
}

@description('How an app reaches the bus and the state by connection strings.')
func bySecret(known facts) { *: string } => {
  AZURE_SERVICEBUS_CONNECTION_STRING: secret(known.vaultName, 'ServiceBusConnectionString')
  AZURE_STORAGE_CONNECTION_STRING: secret(known.vaultName, 'StorageConnectionString')
}

@description('How telemetry is sent: by identity. Where it goes is added by function-app.bicep.')
func telemetry(clientId string) { *: string } => {
  APPLICATIONINSIGHTS_AUTHENTICATION_STRING: 'ClientId=${clientId};Authorization=AAD'
  PYTHON_APPLICATIONINSIGHTS_ENABLE_TELEMETRY: 'true'
  // Our log lines. The default, all loggers, exports what the exporter says of its own requests,
  // again and again.
  PYTHON_APPLICATIONINSIGHTS_LOGGER_NAME: 'aos'
  // All that the worker would turn on: our own spans tell of a run, and a dependency row for each
  // storage call would cost more than the call.
  OTEL_PYTHON_DISABLED_INSTRUMENTATIONS: join(instrumentations, ',')
  // AOS has no metrics of its own in the worker, and the platform measures processor and memory.
  OTEL_METRICS_EXPORTER: 'none'
  APPLICATIONINSIGHTS_OPENTELEMETRY_RESOURCE_METRIC_DISABLED: 'true'
  APPLICATIONINSIGHTS_STATSBEAT_DISABLED_ALL: 'true'
  APPLICATIONINSIGHTS_SDKSTATS_DISABLED: 'true'
}

@description('What main and realm know of the model; the key is realm\'s alone.')
func model(clientId string, withKey bool, known facts) { *: string } => {
  AOS_MODEL_ENDPOINT: known.modelEndpoint
  ...(empty(known.modelName) ? {} : { AOS_MODEL: known.modelName })
  ...(empty(known.modelNames) ? {} : { AOS_MODELS: known.modelNames })
  ...(known.modelKey ? {} : { AOS_MODEL_CLIENT_ID: clientId })
  ...(withKey && known.modelKey ? { AOS_MODEL_API_KEY: secret(known.vaultName, 'ModelApiKey') } : {})
}

@description('What cards of MCP servers may say: main judges them by it when they are uploaded, mcp again when it starts them. The vault is named to both, and only mcp may read it.')
func serverCards(known facts) { *: string } => {
  AOS_KEY_VAULT_URI: known.mcpVaultUri
  ...(empty(known.mcpAllowed) ? {} : { AOS_MCP_ALLOWED: known.mcpAllowed })
}

@export()
@description('Settings of main.')
func mainSettings(clientId string, auth string, monitored bool, browserSignIn bool, linked bool, known facts) {
  *: string
} => {
  ...shared('main', auth, known)
  ...(known.connectionStrings ? bySecret(known) : byIdentity(clientId, known))
  ...(monitored ? telemetry(clientId) : {})
  ...(empty(known.modelEndpoint) ? {} : model(clientId, false, known))
  ...serverCards(known)
  AOS_REPLY_TO: join(known.replyQueues, ',')
  AOS_CATALOG_TIMER_SECONDS: string(known.catalogSeconds)
  AOS_MENDER_TIMER_SECONDS: string(known.menderSeconds)
  ...(empty(known.keyOwners) ? {} : { AOS_KEY_OWNERS: known.keyOwners })
  ...(empty(known.adminKeys) ? {} : { AOS_ADMIN_KEYS: known.adminKeys })
  ...(linked ? { AOS_PUBLIC_URL: known.publicUrl } : {})
  ...(browserSignIn ? { B2C_CLIENT_SECRET: secret(known.vaultName, 'B2CClientSecret') } : {})
}

@export()
@description('Settings of realm.')
func realmSettings(clientId string, monitored bool, known facts) { *: string } => {
  ...shared('realm', 'keys', known)
  ...(known.connectionStrings ? bySecret(known) : byIdentity(clientId, known))
  ...(monitored ? telemetry(clientId) : {})
  ...(empty(known.modelEndpoint) ? {} : model(clientId, true, known))
}

@export()
@description('Settings of mcp. It runs foreign code, so it keeps to its identity whatever the others do.')
func mcpSettings(clientId string, monitored bool, known facts) { *: string } => {
  ...shared('mcp', 'keys', known)
  ...byIdentity(clientId, known)
  ...(monitored ? telemetry(clientId) : {})
  ...serverCards(known)
  AOS_MCP_FOLDER: '/home/site/wwwroot'
  AOS_LISTING_TIMER_SECONDS: string(known.listingSeconds)
}
