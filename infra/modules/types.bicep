metadata description = 'Which values do the modules hand to each other?'

@export()
@description('Tags: name to value.')
type tagSet = { *: string }

@export()
@description('Somebody in Entra ID who gets a role.')
type principal = {
  @description('Object id.')
  id: string

  @description('What the object is.')
  type: 'User' | 'Group' | 'ServicePrincipal'
}

@export()
@description('A phone that critical alerts reach by text message.')
type phone = {
  @description('Such as 1 or 49.')
  countryCode: string

  @description('The number without the country code.')
  phoneNumber: string
}

@export()
@description('An app and the name of something that belongs to it.')
type perApp = { main: string, mcp: string, realm: string }

@export()
@description('Whom an alert tells.')
type alertTarget = { actionGroupId: string }
