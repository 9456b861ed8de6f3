using '../main-modular.bicep'

param location = 'eastus'
param environment = 'dev'
param functionAppSku = 'Y1' // FC1 is its successor: a virtual network if wanted, and cheaper waits
param serviceBusSku = 'Standard'
param storageSku = 'Standard_LRS'
param enableB2C = false
param enableAppInsights = true
param enableAzureML = false // only LoRA training needs it, and a registry costs while it sleeps

// `func azure functionapp publish` knows the storage of a Y1 app by account key only.
param coreToolsPublish = true

param modelEndpoint = readEnvironmentVariable('AOS_MODEL_ENDPOINT', '')
param modelName = readEnvironmentVariable('AOS_MODEL', '')
param modelAccountId = readEnvironmentVariable('AOS_MODEL_ACCOUNT_ID', '')

param mcpAllowed = 'npx -y @modelcontextprotocol/'

param monthlyBudget = 100
param budgetStartDate = readEnvironmentVariable('AOS_BUDGET_START', '')

// Who uploads cards and keeps secrets, and who is told:
// param operators = [{ id: '<object id>', type: 'Group' }]
// param criticalAlertEmails = ['on-call@example.com']
// param warningAlertEmails = ['team@example.com']
