using '../main-modular.bicep'

param location = 'eastus'
param environment = 'staging'
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
param modelAccountId = readEnvironmentVariable('AOS_MODEL_ACCOUNT_ID', '')

param mcpAllowed = 'npx -y @modelcontextprotocol/'

param monthlyBudget = 500
param budgetStartDate = readEnvironmentVariable('AOS_BUDGET_START', '')

// Who uploads cards and keeps secrets, and who is told:
// param operators = [{ id: '<object id>', type: 'Group' }]
// param criticalAlertEmails = ['on-call@example.com']
// param warningAlertEmails = ['team@example.com']
