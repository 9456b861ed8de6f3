metadata description = 'App Service Authentication of the main app, with Entra ID, Entra External ID or an Azure AD B2C tenant.'

@export()
@description('The identity provider of callers.')
type signIn = {
  @description('Client id of the app registration.')
  clientId: string

  @description('Issuer: https://login.microsoftonline.com/<tenant>/v2.0, or the address of a user flow of External ID or B2C up to /v2.0.')
  issuer: string

  @description('Audiences that tokens may have besides the client id.')
  audiences: string[]

  @description('Name of the setting with the client secret, for signing in with a browser; empty to take tokens only.')
  secretSetting: string
}

@description('Required. Name of the function app.')
param siteName string

@description('Optional. Name of its slot, which needs settings of its own. Empty for none.')
param slotName string = ''

@description('Required. The identity provider of callers.')
param settings signIn

var properties = {
  platform: { enabled: true, runtimeVersion: '~1' }
  globalValidation: {
    requireAuthentication: true
    unauthenticatedClientAction: 'Return401'
    // Probes need no sign-in. The console holds no data, and sends a browser to the sign-in.
    excludedPaths: ['/api/health', '/api/status', '/api/console', '/api/console/*']
  }
  httpSettings: { requireHttps: true }
  identityProviders: {
    azureActiveDirectory: {
      enabled: true
      registration: {
        clientId: settings.clientId
        openIdIssuer: settings.issuer
        ...(empty(settings.secretSetting) ? {} : { clientSecretSettingName: settings.secretSetting })
      }
      validation: { allowedAudiences: [settings.clientId, ...settings.audiences] }
    }
  }
  login: { tokenStore: { enabled: false } }
}

resource site 'Microsoft.Web/sites@2025-03-01' existing = {
  name: siteName

  resource slot 'slots' existing = {
    name: empty(slotName) ? 'none' : slotName
  }
}

resource authentication 'Microsoft.Web/sites/config@2025-03-01' = {
  parent: site
  name: 'authsettingsV2'
  properties: properties
}

resource slotAuthentication 'Microsoft.Web/sites/slots/config@2025-03-01' = if (!empty(slotName)) {
  parent: site::slot
  name: 'authsettingsV2'
  properties: properties
}

@description('Id of the settings.')
output id string = authentication.id
