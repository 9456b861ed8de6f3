metadata description = 'Who hears when the money runs? A monthly budget of the resource group.'

@description('Required. Name of the budget.')
param name string

@description('Required. Amount a month, in the currency of the subscription.')
@minValue(1)
param amount int

@description('Required. First day of the month in which the budget is first deployed, such as 2026-12-01. It stays as it was when the budget is deployed again.')
param startDate string

@description('Optional. Addresses that are told; the owners of the subscription are told in any case.')
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
