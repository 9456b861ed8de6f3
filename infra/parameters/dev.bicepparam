using '../main-modular.bicep'

param location = 'eastus'
param environment = 'dev'
param nameSuffix = readEnvironmentVariable('AOS_NAME_SUFFIX', '') // such as -k7q2: names of sites are unique in the world
param functionAppSku = 'Y1' // FC1 is its successor: a virtual network if wanted, and cheaper waits
param serviceBusSku = 'Standard'
param storageSku = 'Standard_LRS'
param enableB2C = false
param enableAppInsights = true
param enableAzureML = false // only LoRA training needs it, and a registry costs while it sleeps

// `func azure functionapp publish` needs the account key of the storage of a Y1 app.
param coreToolsPublish = true

param modelEndpoint = readEnvironmentVariable('AOS_MODEL_ENDPOINT', '')
param modelName = readEnvironmentVariable('AOS_MODEL', '')
var modelApiName = readEnvironmentVariable('AOS_MODEL_API', '')
param modelApi = empty(modelApiName) ? 'chat' : modelApiName // or responses: docs/MODELS.md
param visionModels = readEnvironmentVariable('AOS_VISION_MODELS', '')
param modelAccountId = readEnvironmentVariable('AOS_MODEL_ACCOUNT_ID', '')
var modelAuthentication = readEnvironmentVariable('AOS_MODEL_AUTH', '')
param modelAuth = empty(modelAuthentication) ? 'identity' : modelAuthentication // or key: docs/MODELS.md

param mcpAllowed = 'npx -y @modelcontextprotocol/'

param logDailyQuotaGb = 1 // what is above it is lost until the next day, and so are its alerts

param monthlyBudget = 100
param budgetStartDate = readEnvironmentVariable('AOS_BUDGET_START', '')

// Who may upload cards and manage secrets: you, or more users and groups ({ id: '…', type: 'Group' }).
var operatorId = readEnvironmentVariable('AOS_OPERATOR_ID', '')
param operators = empty(operatorId) ? [] : [{ id: operatorId, type: 'User' }]

// Receivers of alerts: addresses separated by commas.
var alertEmails = readEnvironmentVariable('AOS_ALERT_EMAILS', '')
param criticalAlertEmails = empty(alertEmails) ? [] : split(alertEmails, ',')
param warningAlertEmails = empty(alertEmails) ? [] : split(alertEmails, ',')
