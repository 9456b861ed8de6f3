metadata description = 'Event Grid. It puts a message on aos-main when a card is uploaded, by identity, without a webhook or a key.'

import { tagSet } from 'types.bicep'
import { roleIds } from 'roles/ids.bicep'

@description('Required. Region.')
param location string

@description('Required. Tags of every resource.')
param tags tagSet

@description('Required. Name of the system topic.')
param name string

@description('Required. Name of the storage account whose blobs are watched.')
param storageName string

@description('Required. Name of the Service Bus namespace.')
param serviceBusName string

@description('Optional. Queue that gets the messages.')
param queueName string = 'aos-main'

var sender = 'Azure Service Bus Data Sender'
var configured = '/blobServices/default/containers/aos-config/blobs'

resource storage 'Microsoft.Storage/storageAccounts@2025-06-01' existing = {
  name: storageName
}

resource queue 'Microsoft.ServiceBus/namespaces/queues@2026-01-01' existing = {
  name: '${serviceBusName}/${queueName}'
}

resource topic 'Microsoft.EventGrid/systemTopics@2025-02-15' = {
  name: name
  location: location
  tags: tags
  identity: { type: 'SystemAssigned' }
  properties: {
    source: storage.id
    topicType: 'Microsoft.Storage.StorageAccounts'
  }
}

@retryOn(['PrincipalNotFound'], 10)
resource mayTell 'Microsoft.Authorization/roleAssignments@2022-04-01' = {
  name: guid(queue.id, topic.id, sender)
  scope: queue
  properties: {
    principalId: topic.identity.principalId
    principalType: 'ServicePrincipal'
    roleDefinitionId: subscriptionResourceId('Microsoft.Authorization/roleDefinitions', roleIds[sender])
    description: '${sender} on ${queueName}, for Event Grid'
  }
}

resource nudge 'Microsoft.EventGrid/systemTopics/eventSubscriptions@2025-02-15' = {
  parent: topic
  name: 'cards'
  properties: {
    eventDeliverySchema: 'CloudEventSchemaV1_0'
    deliveryWithResourceIdentity: {
      identity: { type: 'SystemAssigned' }
      destination: { endpointType: 'ServiceBusQueue', properties: { resourceId: queue.id } }
    }
    filter: {
      includedEventTypes: ['Microsoft.Storage.BlobCreated', 'Microsoft.Storage.BlobDeleted']
      // Only the two folders of cards: main writes status files into the same container.
      subjectBeginsWith: '${configured}/'
      advancedFilters: [
        {
          operatorType: 'StringBeginsWith'
          key: 'subject'
          values: ['${configured}/agents/', '${configured}/mcp-servers/']
        }
      ]
    }
    retryPolicy: { eventTimeToLiveInMinutes: 60, maxDeliveryAttempts: 30 }
  }
  dependsOn: [mayTell]
}

@description('Id of the system topic.')
output id string = topic.id
