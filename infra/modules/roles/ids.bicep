metadata description = 'The ids of the built-in roles. They are equal in every tenant.'

@export()
@description('Role name to role id.')
var roleIds = {
  'Key Vault Secrets User': '4633458b-17de-408a-b874-0445c86b69e6'
  'Key Vault Secrets Officer': 'b86a8fe4-44ce-4948-aee5-eccb2c155cd7'
  'Storage Blob Data Owner': 'b7e6dc6d-f1e8-4753-8033-0f276bb0955b'
  'Storage Blob Data Contributor': 'ba92f5b4-2d11-453d-a403-e96b0029c9fe'
  'Storage Queue Data Contributor': '974c5e8b-45b9-4653-ba55-5f855dd0fb88'
  'Storage Table Data Contributor': '0a9a7e1f-b9d0-4cc4-a60d-0319b160aaa3'
  'Storage Table Data Reader': '76199698-9eea-4c19-bc75-cec21354c6b6'
  'Storage Account Backup Contributor': 'e5e2a7ff-d759-4cd2-bb51-3152d37e2eb1'
  'Azure Service Bus Data Owner': '090c5cfd-751d-490a-894a-3ce6f1109419'
  'Azure Service Bus Data Sender': '69a216fc-b8fb-44d8-bc22-1f3c2cd27a39'
  'Azure Service Bus Data Receiver': '4f6d3b9b-027b-4f4c-9142-0e5a2a2247e0'
  'Monitoring Metrics Publisher': '3913510d-42f4-4e42-8a64-420c390055eb'
  'Cognitive Services OpenAI User': '5e0bd9bd-7b93-4f28-af87-19fc36ad61bd'
}

@export()
@description('A role on one container or table.')
type partRole = {
  @description('Name of the container or table.')
  name: string

  @description('Name of the role.')
  role: string

  @description('Condition that narrows the role (attribute-based access control).')
  condition: string?
}

@export()
@description('A role on one queue or topic.')
type entityRole = {
  @description('Name of the queue or topic.')
  name: string

  @description('Name of the role.')
  role: string
}

@export()
@description('A role on one subscription.')
type subscriptionRole = {
  @description('Name of the topic.')
  topic: string

  @description('Name of the subscription.')
  name: string

  @description('Name of the role.')
  role: string
}

@export()
@description('The rights of an app on the state and the bus.')
type appGrants = {
  account: string[]
  containers: partRole[]
  tables: partRole[]
  queues: entityRole[]
  topics: entityRole[]
  subscriptions: subscriptionRole[]
}
