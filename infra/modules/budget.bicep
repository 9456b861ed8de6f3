metadata description = 'A monthly budget of the resource group, and who gets a message about it.'

@description('Required. Name of the budget.')
param name string

@description('Required. Amount for each month, in the currency of the subscription.')
@minValue(1)
param amount int

@description('Required. First day of the month of the first deployment, such as 2026-12-01. It must not change later.')
param startDate string

@description('Optional. Addresses that get a message. The owners of the subscription always get one.')
param emails string[] = []

resource budget 'Microsoft.Consumption/budgets@2023-11-01' = {
  name: name
  properties: {
    category: 'Cost'
    amount: amount
    timeGrain: 'Monthly'
    timePeriod: { startDate: startDate }
    notifications: {
      spent80: {
        enabled: true
        operator: 'GreaterThan'
        threshold: 80
        thresholdType: 'Actual'
        contactEmails: emails
        contactRoles: ['Owner']
      }
      forecast100: {
        enabled: true
        operator: 'GreaterThan'
        threshold: 100
        thresholdType: 'Forecasted'
        contactEmails: emails
        contactRoles: ['Owner']
      }
    }
  }
}

@description('Id of the budget.')
output id string = budget.id
