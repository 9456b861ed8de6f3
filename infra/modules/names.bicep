metadata description = 'The names of all resources of an environment. A name that is too long for its service is cut, but not its unique end.'

@description('Length of the unique end of global names. The longest prefix, that of the vault of the mcp app, leaves room for six characters.')
var uniqueLength = 6

@export()
@description('The names of one environment.')
type resourceNames = {
  functionApps: { main: string, mcp: string, realm: string }
  identities: { main: string, mcp: string, realm: string }
  hostStorage: { main: string, mcp: string, realm: string }
  dataStorage: string
  serviceBus: string
  keyVault: string
  mcpKeyVault: string
  plan: string
  workspace: string
  insights: string
  workbook: string
  mlWorkspace: string
  containerRegistry: string
  network: string
  cosmos: string
  backupVault: string
  frontDoor: string
  frontDoorEndpoint: string
  eventTopic: string
  budget: string
}

@description('A name without separators: cut so that its unique end always fits.')
func joined(prefix string, maxLength int, unique string) string =>
  '${take(toLower(replace(prefix, '-', '')), maxLength - uniqueLength)}${take(unique, uniqueLength)}'

@description('A name with hyphens: cut so that its unique end always fits, never with two hyphens in a row.')
func hyphened(prefix string, maxLength int, unique string) string =>
  replace('${take(prefix, maxLength - uniqueLength - 1)}-${take(unique, uniqueLength)}', '--', '-')

@export()
@description('The names for an environment, a suffix (empty, or such as -dr) and a unique text of at least six characters.')
func namesOf(environment string, suffix string, unique string) resourceNames => {
  functionApps: {
    main: 'aos-${environment}${suffix}-func'
    mcp: 'aos-${environment}${suffix}-mcp-func'
    realm: 'aos-${environment}${suffix}-realm-func'
  }
  identities: {
    main: 'id-aos-${environment}${suffix}-main'
    mcp: 'id-aos-${environment}${suffix}-mcp'
    realm: 'id-aos-${environment}${suffix}-realm'
  }
  hostStorage: {
    main: joined('staosmain${environment}${suffix}', 24, unique)
    mcp: joined('staosmcp${environment}${suffix}', 24, unique)
    realm: joined('staosrealm${environment}${suffix}', 24, unique)
  }
  dataStorage: joined('staosdata${environment}${suffix}', 24, unique)
  serviceBus: hyphened('sb-aos-${environment}${suffix}', 50, unique)
  keyVault: hyphened('kv-aos-${environment}${suffix}', 24, unique)
  mcpKeyVault: hyphened('kv-aosmcp-${environment}${suffix}', 24, unique)
  plan: 'plan-aos-${environment}${suffix}'
  workspace: 'law-aos-${environment}${suffix}'
  insights: 'appi-aos-${environment}${suffix}'
  workbook: 'AOS ${environment}${suffix}'
  mlWorkspace: 'mlw-aos-${environment}${suffix}'
  containerRegistry: joined('craos${environment}${suffix}', 50, unique)
  network: 'vnet-aos-${environment}${suffix}'
  cosmos: hyphened('cosmos-aos-${environment}${suffix}', 44, unique)
  backupVault: 'bv-aos-${environment}${suffix}'
  frontDoor: 'afd-aos-${environment}${suffix}'
  frontDoorEndpoint: hyphened('fde-aos-${environment}${suffix}', 46, unique)
  eventTopic: 'evgt-aos-${environment}${suffix}'
  budget: 'budget-aos-${environment}${suffix}'
}
