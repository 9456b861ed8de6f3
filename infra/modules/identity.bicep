metadata description = 'Who is an app to Azure? A user-assigned identity, which exists before the app and outlives it.'

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

@description('Its object id, to which roles are assigned.')
output principalId string = identity.properties.principalId

@description('Its client id, by which a process asks for its tokens.')
output clientId string = identity.properties.clientId
