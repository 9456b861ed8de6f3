metadata description = 'A workbook for operators with the queries of queries/, unchanged.'

import { tagSet } from 'types.bicep'

@description('Required. Region.')
param location string

@description('Required. Tags of every resource.')
param tags tagSet

@description('Required. Display name.')
param displayName string

@description('Required. Id of the Application Insights component that the queries read.')
param insightsId string

@description('Required. Id of the workspace of its tables. It has the billed size of each row.')
param workspaceId string

var sections = [
  { title: 'Request volume', query: loadTextContent('../queries/request-volume.kql') }
  { title: 'Error rate', query: loadTextContent('../queries/error-rate.kql') }
  { title: 'Failed requests by result code', query: loadTextContent('../queries/failed-requests.kql') }
  { title: 'Agent activity', query: loadTextContent('../queries/agent-activity.kql') }
  { title: 'Agent operations in the log', query: loadTextContent('../queries/agent-operations.kql') }
  { title: 'Agent lifecycle', query: loadTextContent('../queries/agent-lifecycle.kql') }
  { title: 'MCP tool calls', query: loadTextContent('../queries/mcp-tool-calls.kql') }
  { title: 'Errors', query: loadTextContent('../queries/errors.kql') }
]

var share = {
  title: 'What telemetry itself costs: rows and bytes by app and table'
  query: loadTextContent('../queries/telemetry-share.kql')
  resourceType: 'microsoft.operationalinsights/workspaces'
  asked: { crossComponentResources: [workspaceId] }
}
var ofTheComponent = { resourceType: 'microsoft.insights/components', asked: {} }

var content = {
  version: 'Notebook/1.0'
  items: map([...map(sections, section => { ...section, ...ofTheComponent }), share], section => {
    type: 3
    name: section.title
    content: {
      version: 'KqlItem/1.0'
      title: section.title
      query: section.query
      size: 0
      queryType: 0
      resourceType: section.resourceType
      timeContext: { durationMs: 86400000 }
      ...section.asked
    }
  })
  fallbackResourceIds: [insightsId]
}

resource workbook 'Microsoft.Insights/workbooks@2023-06-01' = {
  name: guid(resourceGroup().id, 'workbook', displayName)
  location: location
  tags: tags
  kind: 'shared'
  properties: {
    displayName: displayName
    category: 'workbook'
    version: 'Notebook/1.0'
    sourceId: insightsId
    serializedData: string(content)
  }
}

@description('Id of the workbook.')
output id string = workbook.id
