metadata description = 'Roles on single queues, topics and subscriptions, never on the namespace.'

import { roleIds, entityRole, subscriptionRole } from 'ids.bicep'

@description('Required. Name of the namespace.')
param namespaceName string

@description('Required. Object id of the principal that gets the roles.')
param principalId string

@description('Optional. Roles on queues.')
param queueRoles entityRole[] = []

@description('Optional. Roles on topics.')
param topicRoles entityRole[] = []

@description('Optional. Roles on subscriptions.')
param subscriptionRoles subscriptionRole[] = []

resource namespace 'Microsoft.ServiceBus/namespaces@2026-01-01' existing = {
  name: namespaceName
}

resource queue 'Microsoft.ServiceBus/namespaces/queues@2026-01-01' existing = [
  for item in queueRoles: { parent: namespace, name: item.name }
]

resource topic 'Microsoft.ServiceBus/namespaces/topics@2026-01-01' existing = [
  for item in topicRoles: { parent: namespace, name: item.name }
]

resource subscriptionTopic 'Microsoft.ServiceBus/namespaces/topics@2026-01-01' existing = [
  for item in subscriptionRoles: { parent: namespace, name: item.topic }
]

resource subscription 'Microsoft.ServiceBus/namespaces/topics/subscriptions@2026-01-01' existing = [
  for (item, i) in subscriptionRoles: { parent: subscriptionTopic[i], name: item.name }
]

@retryOn(['PrincipalNotFound'], 10)
resource onQueue 'Microsoft.Authorization/roleAssignments@2022-04-01' = [
  for (item, i) in queueRoles: {
    // An assignment cannot change its principal, so its name contains the principal's id.
    #disable-next-line what-if-short-circuiting
    name: guid(namespace.id, item.name, principalId, item.role)
    scope: queue[i]
    properties: {
      principalId: principalId
      principalType: 'ServicePrincipal'
      roleDefinitionId: subscriptionResourceId('Microsoft.Authorization/roleDefinitions', roleIds[item.role])
      description: '${item.role} on ${item.name}'
    }
  }
]

@retryOn(['PrincipalNotFound'], 10)
resource onTopic 'Microsoft.Authorization/roleAssignments@2022-04-01' = [
  for (item, i) in topicRoles: {
    #disable-next-line what-if-short-circuiting
    name: guid(namespace.id, item.name, principalId, item.role)
    scope: topic[i]
    properties: {
      principalId: principalId
      principalType: 'ServicePrincipal'
      roleDefinitionId: subscriptionResourceId('Microsoft.Authorization/roleDefinitions', roleIds[item.role])
      description: '${item.role} on ${item.name}'
    }
  }
]

@retryOn(['PrincipalNotFound'], 10)
resource onSubscription 'Microsoft.Authorization/roleAssignments@2022-04-01' = [
  for (item, i) in subscriptionRoles: {
    #disable-next-line what-if-short-circuiting
    name: guid(namespace.id, item.topic, item.name, principalId, item.role)
    scope: subscription[i]
    properties: {
      principalId: principalId
      principalType: 'ServicePrincipal'
      roleDefinitionId: subscriptionResourceId('Microsoft.Authorization/roleDefinitions', roleIds[item.role])
      description: '${item.role} on ${item.topic}/${item.name}'
    }
  }
]
