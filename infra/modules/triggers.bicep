metadata description = 'The functions of each app that start without an HTTP request. They are switched off in a staging slot, which would otherwise take messages from production. A test compares the list with the apps.'

@export()
@description('Names of the functions with a trigger other than HTTP.')
var triggers = {
  main: ['request', 'command', 'agent_event', 'publish_catalog', 'mend', 'archive']
  mcp: ['call_tool', 'system_event', 'list_tools']
  realm: ['advance']
}
