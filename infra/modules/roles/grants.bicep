metadata description = 'The roles of each app. An app has only the roles that its work needs, on the account or the bus entity. mcp, which runs code of others, has the fewest.'

import { appGrants } from 'ids.bicep'

var blobContributor = 'Storage Blob Data Contributor'
var tableContributor = 'Storage Table Data Contributor'
var tableReader = 'Storage Table Data Reader'
// Scaling reads the number of waiting messages, which needs the right to manage. So an app is the
// owner of the entities that trigger it.
var owner = 'Azure Service Bus Data Owner'
var sender = 'Azure Service Bus Data Sender'
var receiver = 'Azure Service Bus Data Receiver'
var blobs = 'Microsoft.Storage/storageAccounts/blobServices/containers/blobs'
var path = '@Resource[${blobs}:path]'

@export()
@description('mcp may read the catalog, read payloads by their digest, and add payloads. It may not list or delete blobs, so it cannot search conversations.')
var mcpBlobCondition = join(
  [
    '(!(ActionMatches{\'${blobs}/read\'} AND SubOperationMatches{\'Blob.List\'}))'
    '((!(ActionMatches{\'${blobs}/read\'} AND NOT SubOperationMatches{\'Blob.List\'})) OR (${path} StringLike \'catalog/*\') OR (${path} StringLike \'payloads/*\'))'
    '((!(ActionMatches{\'${blobs}/write\'}) AND !(ActionMatches{\'${blobs}/add/action\'})) OR (${path} StringLike \'payloads/*\'))'
    '(!(ActionMatches{\'${blobs}/delete\'}) AND !(ActionMatches{\'${blobs}/move/action\'}))'
  ],
  ' AND '
)

@export()
@description('Authors of agents may write agent cards, but not cards of MCP servers, because those start programs.')
var agentAuthorCondition = join(
  [
    '((!(ActionMatches{\'${blobs}/write\'}) AND !(ActionMatches{\'${blobs}/add/action\'}) AND !(ActionMatches{\'${blobs}/delete\'})) OR (${path} StringLike \'agents/*\'))'
    '(!(ActionMatches{\'${blobs}/move/action\'}))'
  ],
  ' AND '
)

@export()
@description('The roles of main, which admits runs, answers callers, publishes the catalog and repeats lost steps. It lists dead letters, which needs the right to receive, and replays them, which needs the right to send.')
func mainGrants(replyQueues string[]) appGrants => {
  account: [blobContributor, 'Storage Queue Data Contributor', tableContributor]
  containers: []
  tables: []
  queues: concat(
    [
      { name: 'aos-requests', role: owner }
      { name: 'aos-main', role: owner }
      { name: 'aos-realm', role: sender }
      { name: 'aos-realm', role: receiver }
      { name: 'aos-mcp', role: sender }
      { name: 'aos-mcp', role: receiver }
      { name: 'businessinfinity-responses', role: receiver }
    ],
    map(replyQueues, name => { name: name, role: sender })
  )
  topics: [
    { name: 'agent-events', role: sender }
    { name: 'system-events', role: sender }
  ]
  subscriptions: [
    { topic: 'agent-events', name: 'wake', role: owner }
    { topic: 'system-events', name: 'mcp', role: receiver }
  ]
}

@export()
@description('The roles of realm, which advances runs and is the only writer of conversations.')
var realmGrants appGrants = {
  account: []
  containers: [
    { name: 'aos-data', role: blobContributor }
    { name: 'aos-logs', role: blobContributor }
  ]
  tables: [
    { name: 'aosruns', role: tableContributor }
    { name: 'aosconversations', role: tableContributor }
    { name: 'aostoolcalls', role: tableContributor }
    { name: 'aosfailures', role: tableContributor }
    { name: 'aostools', role: tableReader }
    { name: 'aosusage', role: tableContributor }
  ]
  queues: [
    { name: 'aos-realm', role: owner }
    { name: 'aos-main', role: sender }
    { name: 'aos-mcp', role: sender }
  ]
  topics: [
    { name: 'agent-events', role: sender }
  ]
  subscriptions: []
}

@export()
@description('The roles of mcp, which runs MCP servers.')
var mcpGrants appGrants = {
  account: []
  containers: [
    { name: 'aos-data', role: blobContributor, condition: mcpBlobCondition }
  ]
  tables: [
    { name: 'aostoolcalls', role: tableContributor }
    { name: 'aostools', role: tableContributor }
  ]
  queues: [
    { name: 'aos-mcp', role: owner }
    { name: 'aos-realm', role: sender }
  ]
  topics: []
  subscriptions: [
    { topic: 'system-events', name: 'mcp', role: owner }
  ]
}
