metadata description = 'Which functions of each app wake by themselves? In a staging slot they are switched off, or it would take messages from production. A test holds the list equal to the apps.'

@export()
@description('Names of the functions with a trigger other than HTTP.')
var triggers = {
  main: ['request', 'command', 'publish_catalog', 'mend']
  mcp: ['call_tool', 'system_event', 'list_tools']
  realm: ['advance']
}
