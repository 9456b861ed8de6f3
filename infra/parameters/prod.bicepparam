using '../main-modular.bicep'

param location = 'eastus2'
param environment = 'prod'
var yours = readEnvironmentVariable('AOS_NAME_SUFFIX', '')
param nameSuffix = yours // such as -k7q2: names of sites are unique in the world
param functionAppSku = 'EP1' // EP2 when a core is not enough, see the runbook of scaling
param serviceBusSku = 'Premium'
param storageSku = 'Standard_GRS'
param enableB2C = true // the secret is B2CClientSecret in the vault
param enableAppInsights = true
param enableAzureML = true

param signInClientId = readEnvironmentVariable('AOS_B2C_CLIENT_ID', '')
param signInIssuer = readEnvironmentVariable('AOS_B2C_ISSUER', '')

param enableVnet = true
param enablePrivateEndpoints = true
param enableStagingSlot = true
param protectKeyVault = true
param softDeleteDays = 30
param enableBackupVault = true

param modelEndpoint = readEnvironmentVariable('AOS_MODEL_ENDPOINT', '')
param modelName = readEnvironmentVariable('AOS_MODEL', '')
var modelApiName = readEnvironmentVariable('AOS_MODEL_API', '')
param modelApi = empty(modelApiName) ? 'chat' : modelApiName // or responses: docs/MODELS.md
param visionModels = readEnvironmentVariable('AOS_VISION_MODELS', '')
param modelAccountId = readEnvironmentVariable('AOS_MODEL_ACCOUNT_ID', '')
var modelAuthentication = readEnvironmentVariable('AOS_MODEL_AUTH', '')
param modelAuth = empty(modelAuthentication) ? 'identity' : modelAuthentication // or key: docs/MODELS.md

// Production pins versions: a prefix that ends with a version allows no newer one.
param mcpAllowed = readEnvironmentVariable('AOS_MCP_ALLOWED', '')

param logDailyQuotaGb = -1 // no cap: a busy day must not end in the dark

// deploy.py requires both in production. Separate ranges by commas; 0.0.0.0/0 means that everybody
// may call. monthlyBudget = 0 means no budget.
var callers = readEnvironmentVariable('AOS_ALLOWED_IP_RANGES', '')
param allowedIpRanges = empty(callers) ? [] : map(split(callers, ','), item => trim(item))
param monthlyBudget = 2000
param budgetStartDate = readEnvironmentVariable('AOS_BUDGET_START', '')

// The second region (prod-dr.bicepparam) serves callers when the main app of this region does not.
param enableFrontDoor = true
param secondaryHostName = 'aos-prod${yours}-dr-func.azurewebsites.net'

// Who may upload cards and manage secrets: you, or more users and groups ({ id: '…', type: 'Group' }).
var operatorId = readEnvironmentVariable('AOS_OPERATOR_ID', '')
param operators = empty(operatorId) ? [] : [{ id: operatorId, type: 'User' }]

// Receivers of alerts: addresses separated by commas.
var alertEmails = readEnvironmentVariable('AOS_ALERT_EMAILS', '')
param criticalAlertEmails = empty(alertEmails) ? [] : split(alertEmails, ',')
param warningAlertEmails = empty(alertEmails) ? [] : split(alertEmails, ',')
