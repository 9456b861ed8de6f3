metadata description = 'The user-assigned identity of an app. It is created before the app and remains when the app is deleted.'

import { tagSet } from 'types.bicep'

@description('Required. Region.')
param location string

@description('Required. Tags of every resource.')
param tags tagSet

@description('Required. Name of the identity.')
param name string

resource identity 'Microsoft.ManagedIdentity/userAssignedIdentities@2024-11-30' = {
  name: name
  location: location
  tags: tags
}

@description('Id of the identity.')
output id string = identity.id

@description('Object id of the identity. Roles are assigned to it.')
output principalId string = identity.properties.principalId

@description('Client id. A process needs it to get a token.')
output clientId string = identity.properties.clientId
