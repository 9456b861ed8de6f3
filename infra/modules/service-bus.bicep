metadata description = 'A Service Bus namespace with the entities of servicebus.json, the list that the laptop reads, too.'

import { tagSet } from 'types.bicep'

@description('Required. Region.')
param location string

@description('Required. Tags of every resource.')
param tags tagSet

@description('Required. Name of the namespace.')
@minLength(6)
@maxLength(50)
param name string

@description('Required. Tier. A namespace cannot change it later.')
@allowed(['Standard', 'Premium'])
param sku string

@description('Optional. Messaging units of Premium.')
@allowed([1, 2, 4, 8, 16])
param capacity int = 1

@description('Optional. Allow access keys. Off unless something needs a key.')
param allowLocalAuth bool = false

@description('Optional. Close the namespace to the internet (Premium). It is then reached only through private endpoints and by trusted services, such as Event Grid.')
param closed bool = false

@description('Optional. Queues for replies. They get the properties of the first one in servicebus.json.')
param replyQueues string[] = ['businessinfinity-responses']

@description('Optional. Whether reply queues have sessions. It cannot be changed later.')
param replySessions bool = false

@description('Optional. Second region to which Premium copies entities and messages; empty for none.')
param replicaLocation string = ''

@description('Optional. Maximum size of a queue or topic in megabytes.')
@allowed([1024, 2048, 3072, 4096, 5120])
param entitySizeMegabytes int = 5120

@description('Optional. Id of the Log Analytics workspace for audit logs; empty for none.')
param workspaceId string = ''

@description('Optional. Lock it against deletion.')
param locked bool = false

var listed = loadJsonContent('../servicebus.json', 'UserConfig.Namespaces[0]')
var replyQueue = 'businessinfinity-responses'
var replyProperties = filter(listed.Queues, queue => queue.Name == replyQueue)[0].Properties
var moreReplyQueues = map(filter(replyQueues, name => name != replyQueue), name => {
  Name: name
  Properties: replyProperties
})
var queues = map(concat(listed.Queues, moreReplyQueues), queue => {
  name: queue.Name
  properties: queue.Properties
  sessions: queue.Properties.RequiresSession || (replySessions && (queue.Name == replyQueue || contains(
    replyQueues,
    queue.Name
  )))
})
var subscriptions = flatten(map(
  range(0, length(listed.Topics)),
  t => map(listed.Topics[t].Subscriptions, subscription => { topic: t, ...subscription })
))
var rules = flatten(map(
  range(0, length(subscriptions)),
  s => map(subscriptions[s].Rules, rule => { subscription: s, ...rule })
))

resource namespace 'Microsoft.ServiceBus/namespaces@2026-01-01' = {
  name: name
  location: location
  tags: tags
  sku: { name: sku, tier: sku, ...(sku == 'Premium' ? { capacity: capacity } : {}) }
  properties: {
    disableLocalAuth: !allowLocalAuth
    minimumTlsVersion: '1.2'
    publicNetworkAccess: closed ? 'Disabled' : 'Enabled'
    ...(sku == 'Premium' ? { zoneRedundant: true } : {})
    ...(sku == 'Premium' && !empty(replicaLocation)
      ? {
          geoDataReplication: {
            maxReplicationLagDurationInSeconds: 300
            locations: [
              { locationName: location, roleType: 'Primary' }
              { locationName: replicaLocation, roleType: 'Secondary' }
            ]
          }
        }
      : {})
  }
}

resource network 'Microsoft.ServiceBus/namespaces/networkRuleSets@2026-01-01' = if (closed) {
  parent: namespace
  name: 'default'
  properties: {
    defaultAction: 'Deny'
    publicNetworkAccess: 'Disabled'
    trustedServiceAccessEnabled: true
  }
}

resource queue 'Microsoft.ServiceBus/namespaces/queues@2026-01-01' = [
  for item in queues: {
    parent: namespace
    name: item.name
    properties: {
      lockDuration: item.properties.LockDuration
      maxDeliveryCount: item.properties.MaxDeliveryCount
      maxSizeInMegabytes: entitySizeMegabytes
      defaultMessageTimeToLive: item.properties.DefaultMessageTimeToLive
      deadLetteringOnMessageExpiration: item.properties.DeadLetteringOnMessageExpiration
      requiresDuplicateDetection: item.properties.RequiresDuplicateDetection
      duplicateDetectionHistoryTimeWindow: item.properties.DuplicateDetectionHistoryTimeWindow
      requiresSession: item.sessions
      ...(empty(item.properties.ForwardTo) ? {} : { forwardTo: item.properties.ForwardTo })
      ...(empty(item.properties.ForwardDeadLetteredMessagesTo)
        ? {}
        : { forwardDeadLetteredMessagesTo: item.properties.ForwardDeadLetteredMessagesTo })
    }
  }
]

resource topic 'Microsoft.ServiceBus/namespaces/topics@2026-01-01' = [
  for item in listed.Topics: {
    parent: namespace
    name: item.Name
    properties: {
      maxSizeInMegabytes: entitySizeMegabytes
      defaultMessageTimeToLive: item.Properties.DefaultMessageTimeToLive
      requiresDuplicateDetection: item.Properties.RequiresDuplicateDetection
      duplicateDetectionHistoryTimeWindow: item.Properties.DuplicateDetectionHistoryTimeWindow
    }
  }
]

resource subscription 'Microsoft.ServiceBus/namespaces/topics/subscriptions@2026-01-01' = [
  for item in subscriptions: {
    parent: topic[item.topic]
    name: item.Name
    properties: {
      lockDuration: item.Properties.LockDuration
      maxDeliveryCount: item.Properties.MaxDeliveryCount
      defaultMessageTimeToLive: item.Properties.DefaultMessageTimeToLive
      deadLetteringOnMessageExpiration: item.Properties.DeadLetteringOnMessageExpiration
      requiresSession: item.Properties.RequiresSession
      ...(empty(item.Properties.ForwardTo) ? {} : { forwardTo: item.Properties.ForwardTo })
      ...(empty(item.Properties.ForwardDeadLetteredMessagesTo)
        ? {}
        : { forwardDeadLetteredMessagesTo: item.Properties.ForwardDeadLetteredMessagesTo })
    }
  }
]

// A new subscription has the rule $Default, which accepts every message. A rule with that name
// replaces it.
resource rule 'Microsoft.ServiceBus/namespaces/topics/subscriptions/rules@2026-01-01' = [
  for item in rules: {
    parent: subscription[item.subscription]
    name: item.Name
    properties: {
      filterType: 'SqlFilter'
      sqlFilter: { sqlExpression: item.Properties.SqlFilter.SqlExpression }
    }
  }
]

resource told 'Microsoft.Insights/diagnosticSettings@2021-05-01-preview' = if (!empty(workspaceId)) {
  name: 'to-log-analytics'
  scope: namespace
  properties: {
    workspaceId: workspaceId
    // Changes of entities and, on Premium, connections. Single messages are in the telemetry.
    logs: map(
      concat(['OperationalLogs'], sku == 'Premium' ? ['RuntimeAuditLogs', 'VNetAndIPFilteringLogs'] : []),
      category => {
        category: category
        enabled: true
      }
    )
  }
}

resource lock 'Microsoft.Authorization/locks@2020-05-01' = if (locked) {
  name: 'keep-${name}'
  scope: namespace
  properties: { level: 'CanNotDelete', notes: 'Holds the messages of AOS.' }
}

@description('Id of the namespace.')
output id string = namespace.id
