metadata description = 'The settings of each app, as aos/settings.py reads them. function-app.bicep adds what the platform needs.'

@export()
@description('Values from which the settings are made.')
type facts = {
  environment: string
  logLevel: string
  samplingRatio: string
  serviceBusHost: string
  storageName: string
  tableEndpoint: string
  queueEndpoint: string
  vaultName: string
  connectionStrings: bool
  modelEndpoint: string
  modelName: string
  modelNames: string
  modelPrices: string
  modelApi: string
  visionModels: string
  modelKey: bool
  publicUrl: string
  replyQueues: string[]
  keyOwners: string
  queueMayActFor: string
  adminKeys: string
  webhooks: bool
  mcpAllowed: string
  mcpVaultUri: string
  catalogSeconds: int
  menderSeconds: int
  wakeSeconds: int
  cleanSeconds: int
  listingSeconds: int
  transcripts: bool
  transcriptDays: int
  more: { *: string }
}

// Every instrumentation of azure-monitor-opentelemetry. A test compares the list with the package.
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

@description('Settings of every app.')
func shared(app string, auth string, known facts) { *: string } => {
  // These settings come first, so they cannot replace any other.
  ...known.more
  // A package that is published to another app's site refuses to start.
  AOS_APP: app
  AOS_ENVIRONMENT: known.environment
  AOS_LOG_LEVEL: known.logLevel
  AOS_AUTH: auth
  // Development would mean no keys and that every caller is an admin.
  AZURE_FUNCTIONS_ENVIRONMENT: 'Production'
  // The only sampler that host and worker both support, so they keep the same traces. Without it the
  // host keeps five traces each second.
  OTEL_TRACES_SAMPLER: 'microsoft.fixed_percentage'
  OTEL_TRACES_SAMPLER_ARG: known.samplingRatio
}

@description('Settings that connect an app to the bus and the state by its identity.')
func byIdentity(clientId string, known facts) { *: string } => {
  AZURE_SERVICEBUS_CONNECTION_STRING__fullyQualifiedNamespace: known.serviceBusHost
  AZURE_SERVICEBUS_CONNECTION_STRING__credential: 'managedidentity'
  AZURE_SERVICEBUS_CONNECTION_STRING__clientId: clientId
  AZURE_STORAGE_CONNECTION_STRING__accountName: known.storageName
  AZURE_STORAGE_CONNECTION_STRING__credential: 'managedidentity'
  AZURE_STORAGE_CONNECTION_STRING__clientId: clientId
  ...(empty(known.tableEndpoint) ? {} : { AZURE_STORAGE_CONNECTION_STRING__tableServiceUri: known.tableEndpoint })
}

@description('Settings that connect an app to the bus and the state by connection strings.')
func bySecret(known facts) { *: string } => {
  AZURE_SERVICEBUS_CONNECTION_STRING: secret(known.vaultName, 'ServiceBusConnectionString')
  AZURE_STORAGE_CONNECTION_STRING: secret(known.vaultName, 'StorageConnectionString')
}

@description('Telemetry is sent by identity. function-app.bicep adds the target.')
func telemetry(clientId string) { *: string } => {
  APPLICATIONINSIGHTS_AUTHENTICATION_STRING: 'ClientId=${clientId};Authorization=AAD'
  PYTHON_APPLICATIONINSIGHTS_ENABLE_TELEMETRY: 'true'
  // Only the loggers of AOS. The default, all loggers, exports the exporter's lines about its own
  // requests, which causes new requests.
  PYTHON_APPLICATIONINSIGHTS_LOGGER_NAME: 'aos'
  // Every instrumentation of the worker is off. AOS has its own spans of a run, and a dependency row
  // for each storage call would cost more than the call.
  OTEL_PYTHON_DISABLED_INSTRUMENTATIONS: join(instrumentations, ',')
  // Spans and custom events are sent each 15 seconds, not each 5: a request costs an app as much
  // processor time as 100 rows.
  OTEL_BSP_SCHEDULE_DELAY: '15000'
  // Lines are few, and the last ones of a process are needed most: each 5 seconds, not each second.
  OTEL_BLRP_SCHEDULE_DELAY: '5000'
  // AOS has no metrics in the worker, and the platform measures processor and memory.
  OTEL_METRICS_EXPORTER: 'none'
  APPLICATIONINSIGHTS_OPENTELEMETRY_RESOURCE_METRIC_DISABLED: 'true'
  APPLICATIONINSIGHTS_STATSBEAT_DISABLED_ALL: 'true'
  APPLICATIONINSIGHTS_SDKSTATS_DISABLED: 'true'
  // The exporter would ask Microsoft each hour for settings that switch its features remotely.
  APPLICATIONINSIGHTS_CONTROLPLANE_DISABLED: 'true'
}

@description('Settings of the model for main and realm. Only realm gets the key.')
func model(clientId string, withKey bool, known facts) { *: string } => {
  AOS_MODEL_ENDPOINT: known.modelEndpoint
  ...(empty(known.modelName) ? {} : { AOS_MODEL: known.modelName })
  ...(empty(known.modelNames) ? {} : { AOS_MODELS: known.modelNames })
  ...(known.modelApi == 'chat' ? {} : { AOS_MODEL_API: known.modelApi })
  ...(empty(known.visionModels) ? {} : { AOS_VISION_MODELS: known.visionModels })
  ...(known.modelKey ? {} : { AOS_MODEL_CLIENT_ID: clientId })
  ...(withKey && known.modelKey ? { AOS_MODEL_API_KEY: secret(known.vaultName, 'ModelApiKey') } : {})
}

@description('What cards of MCP servers may contain. main checks it when a card is uploaded, and mcp when it starts the server. Both know the name of the vault, but only mcp may read it.')
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
  // The trigger of aos-jobs reads the address from a setting of its own.
  ...(known.connectionStrings ? {} : { AZURE_STORAGE_CONNECTION_STRING__queueServiceUri: known.queueEndpoint })
  AOS_TRANSCRIPTS: known.transcripts ? 'on' : 'off'
  AOS_TRANSCRIPT_DAYS: string(known.transcriptDays)
  // Python 3.12 and older need it for streamed answers; newer workers have no such setting.
  PYTHON_ENABLE_INIT_INDEXING: '1'
  AOS_REPLY_TO: join(known.replyQueues, ',')
  AOS_CATALOG_TIMER_SECONDS: string(known.catalogSeconds)
  AOS_MENDER_TIMER_SECONDS: string(known.menderSeconds)
  AOS_WAKE_TIMER_SECONDS: string(known.wakeSeconds)
  AOS_CLEAN_TIMER_SECONDS: string(known.cleanSeconds)
  ...(empty(known.keyOwners) ? {} : { AOS_KEY_OWNERS: known.keyOwners })
  ...(empty(known.queueMayActFor) ? {} : { AOS_QUEUE_MAY_ACT_FOR: known.queueMayActFor })
  ...(empty(known.modelPrices) ? {} : { AOS_MODEL_PRICES: known.modelPrices })
  ...(empty(known.adminKeys) ? {} : { AOS_ADMIN_KEYS: known.adminKeys })
  ...(known.webhooks ? { AOS_WEBHOOK_SECRET: secret(known.vaultName, 'WebhookSecret') } : {})
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
@description('Settings of mcp. It runs code of others, so it always connects by its identity.')
func mcpSettings(clientId string, monitored bool, known facts) { *: string } => {
  ...shared('mcp', 'keys', known)
  ...byIdentity(clientId, known)
  ...(monitored ? telemetry(clientId) : {})
  ...serverCards(known)
  AOS_MCP_FOLDER: '/home/site/wwwroot'
  AOS_LISTING_TIMER_SECONDS: string(known.listingSeconds)
}
