metadata description = 'The types of values that modules pass to each other.'

@export()
@description('Tags: name to value.')
type tagSet = { *: string }

@export()
@description('A principal in Entra ID that gets a role.')
type principal = {
  @description('Object id.')
  id: string

  @description('Type of the principal.')
  type: 'User' | 'Group' | 'ServicePrincipal'
}

@export()
@description('A phone number for critical alerts by text message.')
type phone = {
  @description('Country code, such as 1 or 49.')
  countryCode: string

  @description('The number without the country code.')
  phoneNumber: string
}

@export()
@description('An app and the name of something that belongs to it.')
type perApp = { main: string, mcp: string, realm: string }

@export()
@description('Receivers of an alert.')
type alertTarget = { actionGroupId: string }

@description('Prices of one model per million tokens, as decimal text.')
type modelPrice = {
  input: string
  cached_input: string?
  output: string
}

@export()
@description('Prices by the name of the model, and their currency, a code of three letters.')
type priceList = {
  currency: string
  *: modelPrice
}
