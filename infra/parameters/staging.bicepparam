using '../main-modular.bicep'

param location = 'eastus'
param environment = 'staging'
param nameSuffix = readEnvironmentVariable('AOS_NAME_SUFFIX', '') // such as -k7q2: names of sites are unique in the world
param functionAppSku = 'EP1'
param serviceBusSku = 'Standard'
param storageSku = 'Standard_GRS'
param enableB2C = false // as in production: true, with the ids of the customer tenant
param enableAppInsights = true
param enableAzureML = true

param enableVnet = true
param enableStagingSlot = true
param protectKeyVault = true
param softDeleteDays = 14

param modelEndpoint = readEnvironmentVariable('AOS_MODEL_ENDPOINT', '')
param modelName = readEnvironmentVariable('AOS_MODEL', '')
var modelApiName = readEnvironmentVariable('AOS_MODEL_API', '')
param modelApi = empty(modelApiName) ? 'chat' : modelApiName // or responses: docs/MODELS.md
param visionModels = readEnvironmentVariable('AOS_VISION_MODELS', '')
param modelAccountId = readEnvironmentVariable('AOS_MODEL_ACCOUNT_ID', '')
var modelAuthentication = readEnvironmentVariable('AOS_MODEL_AUTH', '')
param modelAuth = empty(modelAuthentication) ? 'identity' : modelAuthentication // or key: docs/MODELS.md

param mcpAllowed = 'npx -y @modelcontextprotocol/'

param logDailyQuotaGb = 2 // what is above it is lost until the next day, and so are its alerts

param monthlyBudget = 500
param budgetStartDate = readEnvironmentVariable('AOS_BUDGET_START', '')

// Who may upload cards and manage secrets: you, or more users and groups ({ id: '…', type: 'Group' }).
var operatorId = readEnvironmentVariable('AOS_OPERATOR_ID', '')
param operators = empty(operatorId) ? [] : [{ id: operatorId, type: 'User' }]

// Receivers of alerts: addresses separated by commas.
var alertEmails = readEnvironmentVariable('AOS_ALERT_EMAILS', '')
param criticalAlertEmails = empty(alertEmails) ? [] : split(alertEmails, ',')
param warningAlertEmails = empty(alertEmails) ? [] : split(alertEmails, ',')
