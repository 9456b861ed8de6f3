metadata description = 'Which functions of each app wake by themselves? In a staging slot they are switched off, or it would take messages from production.'

@export()
@description('Names of the functions with a trigger other than HTTP.')
var triggers = {
  main: ['requests', 'commands', 'catalog', 'mender']
  mcp: ['commands', 'events']
  realm: ['commands']
}
